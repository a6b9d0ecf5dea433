"""Show what a search sends to a server, for a person to send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_search.errors import UsageError
from hybrid_search.search import Mode, Search

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.search.shown import ShownRequest
    from hybrid_search.retriever import Retriever
    from hybrid_search.settings.index import Fusion

__all__ = ["show_request"]


def show_request(
    retriever: Retriever, query: str, k: int, *, mode: Mode, filter: str | None, offset: int, fusion: Fusion
) -> ShownRequest:
    """Return the search of one query as a request in plain JSON; sent, it finds the same documents in the same order.

    Ties are the exception: a server does not order them in a hybrid search, :meth:`Retriever.search` does by id.

    :raises UsageError: for an index in a folder, or a query for which nothing is sent.
    """
    from hybrid_search.engines.opensearch import OpenSearchEngine

    if not isinstance(retriever.engine, OpenSearchEngine):
        raise UsageError("an index in a folder is not asked by requests; give one on a server, opensearch://host/index")
    search = Search.of([query], k, mode, filter=filter, offset=offset, fusion=fusion)
    return retriever.engine.shown(retriever.source.current.ready(search))
