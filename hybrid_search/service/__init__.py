"""The HTTP service: searches, documents and vectors of one index, for clients of any language.

``hybrid-search serve LOCATION`` runs it; :func:`create_app` gives the ASGI application to another server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.api import open as open_index
from hybrid_search.errors import MissingExtra
from hybrid_search.opening import folder_of, is_on_server
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import RERANK_DEPTH
from hybrid_search.settings.service import ServiceOptions

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hybrid_search.engines.opensearch.transport import Connection
    from hybrid_search.protocols import Reranker
    from hybrid_search.service.core import Service
    from hybrid_search.settings.server import SearchOptions

__all__ = ["ServiceOptions", "create_app", "service_of"]


def create_app(
    location: str | Path,
    *,
    model: str | Path | None = None,
    options: ServiceOptions | None = None,
    connection: Connection | None = None,
    search: SearchOptions | None = None,
    rerank: Reranker | None = None,
    rerank_depth: int = RERANK_DEPTH,
) -> FastAPI:
    """Return the service of an index as an ASGI application, which opens the index when it is started.

    :param location: the index's folder, or ``opensearch://host:9200/name``; an alias is followed when it moves.
    :param model: as for :func:`hybrid_search.open`, as are ``connection`` and ``search``.
    :param options: limits and rights; by default nobody may change documents, and no key is asked for.
    :param rerank: scores the first ``rerank_depth`` hits anew, unless a request says ``"rerank": false``; called from
        several threads, and once when the index is opened.
    :raises MissingExtra: if the extra ``serve`` is not installed.
    :raises ConfigError: if the file of API keys can't be read.
    """
    service = service_of(
        location, model=model, options=options, connection=connection, search=search, rerank=rerank,
        rerank_depth=rerank_depth,
    )  # fmt: skip
    from hybrid_search.service.app import application

    return application(service)


def service_of(
    location: str | Path,
    *,
    model: str | Path | None = None,
    options: ServiceOptions | None = None,
    connection: Connection | None = None,
    search: SearchOptions | None = None,
    rerank: Reranker | None = None,
    rerank_depth: int = RERANK_DEPTH,
    writes: bool = True,
) -> Service:
    """Return what :func:`create_app` makes an application of, not opened yet.

    :param writes: whether changes are made by this process; otherwise by another one, to which they are sent.
    """
    try:
        import fastapi
        import prometheus_client
    except ImportError as error:
        raise MissingExtra(error.name or "fastapi", "serve") from None
    del fastapi, prometheus_client
    from hybrid_search.service.core import Service

    given = options or ServiceOptions()
    writable = given.writable and writes

    def opened() -> Retriever:
        # A link is resolved here: an index opened through it would see the files of another one when it is moved.
        place = location if is_on_server(location) else folder_of(location).resolve()
        return open_index(
            place, model=model, writable=writable, connection=connection, search=search, rerank=rerank,
            rerank_depth=rerank_depth,
        )  # fmt: skip

    return Service(str(location), _with_connection(location, opened), given, writes=writable)


def _with_connection(location: str | Path, opened: Callable[[], Retriever]) -> Callable[[], Retriever]:
    """Return the same with the connection that holds now, as it will be called in another thread."""
    if not is_on_server(location):
        return opened
    from hybrid_search.engines.opensearch.transport import chosen, connected

    connection = chosen()

    def opened_there() -> Retriever:
        with connected(connection):
            return opened()

    return opened_there
