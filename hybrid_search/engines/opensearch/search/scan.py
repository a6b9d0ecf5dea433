"""Looking into an index: stored vectors by id, random documents, and what has changed in it since a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.opensearch.index.coercion import as_indexed
from hybrid_search.engines.opensearch.index.document_json import from_source
from hybrid_search.engines.opensearch.search.answers import checked, hits_of
from hybrid_search.engines.opensearch.search.bodies import documents_page
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import failure, taken_apart
from hybrid_search.settings.index import FieldType
from hybrid_search.streams import in_batches
from hybrid_search.types import Document

__all__ = [
    "HeldDocuments",
    "all_documents",
    "random_ids",
    "sequence_mark",
    "stored_vectors",
    "without_counterpart",
    "writes_to",
]

_PAGE = 1_000


@taken_apart("vectors")
def stored_vectors(client: Client, index: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Read the vectors of documents, of those that have one."""
    found: dict[str, NDArray[np.float32]] = {}
    for batch in in_batches(ids, _PAGE):
        for one in client.call("POST", f"/{index}/_mget", {"ids": batch}, _source_includes="vector")["docs"]:
            if "error" in one:
                raise failure(500, one, index)
            if one["found"] and "vector" in one.get("_source", {}):
                found[one["_id"]] = np.asarray(one["_source"]["vector"], np.float32)
    return found


@taken_apart("the index's statistics")
def sequence_mark(client: Client, index: str) -> int:
    """Return a number that every later change of the index has a higher one than.

    Shards count for themselves: the lowest of theirs is returned, so that some earlier changes have a higher one too.
    """
    shards = client.call("GET", f"/{index}/_stats", level="shards")["indices"][index]["shards"]
    return min(int(copy["seq_no"]["max_seq_no"]) for copies in shards.values() for copy in copies)


@taken_apart("the index's statistics")
def writes_to(client: Client, index: str) -> int:
    """Return a number that is another one after every change of the index."""
    shards = client.call("GET", f"/{index}/_stats", level="shards")["indices"][index]["shards"]
    return sum(max(int(copy["seq_no"]["max_seq_no"]) for copy in copies) for copies in shards.values())


class HeldDocuments:
    """The documents of one index as the server has indexed them; see :mod:`coercion`."""

    def __init__(self, client: Client, index: str, fields: Mapping[str, FieldType]) -> None:
        self._client = client
        self._index = index
        self._fields = fields

    def all(self) -> Iterator[Document]:
        """Iterate over the committed documents, as they are at the start."""
        return self._found({"match_all": {}})

    def changed_since(self, mark: int) -> Iterator[Document]:
        """Iterate over the documents that were added or replaced after :func:`sequence_mark` returned ``mark``."""
        return self._found({"range": {"_seq_no": {"gt": mark}}})

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None where there is none."""
        documents: list[Document | None] = []
        for batch in in_batches(ids, _PAGE):
            answer = self._client.call("POST", f"/{self._index}/_mget", {"ids": batch}, _source_excludes="vector,added")
            for one in answer["docs"]:
                if "error" in one:
                    raise failure(500, one, self._index)
                documents.append(as_indexed(one["_id"], one["_source"], self._fields) if one["found"] else None)
        return documents

    def _found(self, query: dict[str, Any]) -> Iterator[Document]:
        for hit in _pages(self._client, self._index, query, {}):
            yield as_indexed(hit["_id"], hit["_source"], self._fields)


def all_documents(client: Client, index: str) -> Iterator[Document]:
    """Iterate over the committed documents as they were given, as they are at the start."""
    for hit in _pages(client, index, {"match_all": {}}, {}):
        yield from_source(hit.get("_source") or {}, hit["_id"])


def without_counterpart(client: Client, index: str, other: str) -> Iterator[str]:
    """Iterate over the ids of an index's documents that another index does not have."""
    ids = (hit["_id"] for hit in _pages(client, index, {"match_all": {}}, {"_source": False}))
    for batch in in_batches(ids, _PAGE):
        for one in client.call("POST", f"/{other}/_mget", {"ids": batch}, _source="false")["docs"]:
            if "error" in one:
                raise failure(500, one, other)
            if not one["found"]:
                yield one["_id"]


def _pages(client: Client, index: str, query: dict[str, Any], wanted: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over all hits of a query, as the index is at the start."""
    opened = client.call("POST", f"/{index}/_search/point_in_time", keep_alive="5m")
    with taken_apart("the index as it is now"):
        point = opened["pit_id"]
    after: list[Any] | None = None
    try:
        while True:
            body = {**documents_page(point, _PAGE, after), "query": query, **wanted}
            answer = client.call("POST", "/_search", body)
            with taken_apart("documents"):
                hits = hits_of(checked(answer, index))
                after = hits[-1]["sort"] if len(hits) >= _PAGE else None
            yield from hits
            if after is None:
                return
    finally:
        client.call("DELETE", "/_search/point_in_time", {"pit_id": [point]})


@taken_apart("documents")
def random_ids(client: Client, index: str, size: int, seed: int) -> list[str]:
    """Draw documents, each as likely as any other; of a smaller index all.

    :param size: at most what a server returns for a search.
    :param seed: draws the same of an index that has not changed.
    """
    drawn = {"random_score": {"seed": seed, "field": "_seq_no"}, "boost_mode": "replace"}
    body = {
        "query": {"function_score": {"query": {"match_all": {}}, **drawn}},
        "size": size,
        "_source": False,
        "track_total_hits": False,
    }
    return [hit["_id"] for hit in hits_of(checked(client.call("POST", f"/{index}/_search", body), index))]
