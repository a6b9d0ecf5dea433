"""Loads behind an alias of a real server, and what is left of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from corpus import made_documents

from hybrid_search.engines.opensearch.index.aliases import delete_index, list_indexes, live_index
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.loading.blue_green import Swap, load_behind_alias
from hybrid_search.loading.gate import Gate
from hybrid_search.loading.load import LoadOptions
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.types import Document

__all__ = ["ANY_SIZE", "DOCUMENTS", "clear", "loaded"]

DOCUMENTS = made_documents(120)
ANY_SIZE = Gate(may_be_smaller=True)


def clear(address: Address) -> None:
    """Delete whatever bears the alias' name."""
    with closing(Client(address)) as client:
        client.call("DELETE", f"/{address.index}-theirs,{address.index}-more", ignore_unavailable="true")
        for one in list_indexes(client):
            if one.name.startswith(address.index):
                delete_index(client, one.name)


def loaded(
    address: Address,
    model: Path | None,
    documents: Sequence[Document] = DOCUMENTS,
    *,
    stream: Callable[[], Iterator[Document]] | None = None,
    gate: Gate | None = ANY_SIZE,
    **options: bool,
) -> Swap:
    """Load documents, or a stream of them, into a new index behind the alias."""
    corpus = Corpus("made", stream or (lambda: iter(documents)))
    with closing(Client(address)) as client:
        options = {"lexical_only": model is None and live_index(client, address.index) is None, **options}
    return load_behind_alias(corpus, address, model=model, options=LoadOptions(**options), gate=gate)
