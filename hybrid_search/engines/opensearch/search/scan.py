"""Reads an index's documents: all, by id, at random, or changed since a mark; and stored vectors.

A server reads ``"2001"`` as a number, 7 as a keyword, null as nothing and a list as several values, but stores the
source unchanged. When documents are copied to another index, their values are those that the server indexed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.opensearch.index.document_json import field_name, from_source
from hybrid_search.engines.opensearch.search.answers import checked, hits_of
from hybrid_search.engines.opensearch.search.bodies import documents_page
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import failure, taken_apart
from hybrid_search.filters.dates import as_a_server_reads
from hybrid_search.settings.index import FieldType
from hybrid_search.streams import in_batches
from hybrid_search.types import Document

__all__ = [
    "HeldDocuments",
    "all_documents",
    "as_indexed",
    "random_ids",
    "sequence_mark",
    "stored_vectors",
    "without_counterpart",
    "writes_to",
]


_PAGE = 1_000

_Read = TypeVar("_Read")


@taken_apart("vectors")
def stored_vectors(client: Client, index: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return id -> vector of the documents that have one."""
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
    """Return a sequence number that every later change of the index exceeds.

    Each shard counts for itself; the lowest number is returned, so some earlier changes exceed it, too.
    """
    shards = client.call("GET", f"/{index}/_stats", level="shards")["indices"][index]["shards"]
    return min(int(copy["seq_no"]["max_seq_no"]) for copies in shards.values() for copy in copies)


@taken_apart("the index's statistics")
def writes_to(client: Client, index: str) -> int:
    """Return a number that is different after every change of the index."""
    shards = client.call("GET", f"/{index}/_stats", level="shards")["indices"][index]["shards"]
    return sum(max(int(copy["seq_no"]["max_seq_no"]) for copy in copies) for copies in shards.values())


class HeldDocuments:
    """The documents of one index as the server has indexed them; see :func:`as_indexed`."""

    def __init__(self, client: Client, index: str, fields: Mapping[str, FieldType]) -> None:
        self._client = client
        self._index = index
        self._fields = fields

    def all(self) -> Iterator[Document]:
        """Iterate over a snapshot of the committed documents."""
        return self._found({"match_all": {}})

    def changed_since(self, mark: int) -> Iterator[Document]:
        """Iterate over the documents added or replaced after :func:`sequence_mark` returned ``mark``."""
        return self._found({"range": {"_seq_no": {"gt": mark}}})

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None for unknown ids."""
        documents: list[Document | None] = []
        for batch in in_batches(ids, _PAGE):
            answer = self._client.call("POST", f"/{self._index}/_mget", {"ids": batch}, _source_excludes="vector,added")
            with taken_apart("documents"):
                for one in answer["docs"]:
                    if "error" in one:
                        raise failure(500, one, self._index)
                    documents.append(self._read(one) if one["found"] else None)
        return documents

    def _found(self, query: dict[str, Any]) -> Iterator[Document]:
        return _hits(self._client, self._index, query, {}, self._read)

    def _read(self, hit: Mapping[str, Any]) -> Document:
        return as_indexed(hit["_id"], hit["_source"], self._fields)


def all_documents(client: Client, index: str) -> Iterator[Document]:
    """Iterate over a snapshot of the committed documents, with values as in their source."""
    return _hits(client, index, {"match_all": {}}, {}, lambda hit: from_source(hit.get("_source") or {}, hit["_id"]))


def without_counterpart(client: Client, index: str, other: str) -> Iterator[str]:
    """Yield the ids of an index's documents that another index lacks."""
    ids: Iterator[str] = _hits(client, index, {"match_all": {}}, {"_source": False}, lambda hit: hit["_id"])
    for batch in in_batches(ids, _PAGE):
        yield from _missing(client, other, batch)


@taken_apart("documents")
def _missing(client: Client, index: str, ids: Sequence[str]) -> list[str]:
    found = client.call("POST", f"/{index}/_mget", {"ids": ids}, _source="false")["docs"]
    for one in found:
        if "error" in one:
            raise failure(500, one, index)
    return [one["_id"] for one in found if not one["found"]]


def _hits(
    client: Client,
    index: str,
    query: dict[str, Any],
    fields: dict[str, Any],
    read: Callable[[Mapping[str, Any]], _Read],
) -> Iterator[_Read]:
    """Iterate over all hits of a query, as ``read`` takes each apart, in a snapshot of the index."""
    opened = client.call("POST", f"/{index}/_search/point_in_time", keep_alive="5m")
    with taken_apart("the index as it is now"):
        point = opened["pit_id"]
    after: list[Any] | None = None
    try:
        while True:
            body = {**documents_page(point, _PAGE, after), "query": query, **fields}
            answer = client.call("POST", "/_search", body)
            with taken_apart("documents"):
                hits = hits_of(checked(answer, index))
                after = hits[-1]["sort"] if len(hits) >= _PAGE else None
                page = [read(hit) for hit in hits]
            yield from page
            if after is None:
                return
    finally:
        client.call("DELETE", "/_search/point_in_time", {"pit_id": [point]})


@taken_apart("documents")
def random_ids(client: Client, index: str, size: int, seed: int) -> list[str]:
    """Return the ids of random documents, drawn uniformly; of all documents if the index has fewer.

    :param size: limited by the size of a server's answer.
    :param seed: gives the same ids as long as the index does not change.
    """
    drawn = {"random_score": {"seed": seed, "field": "_seq_no"}, "boost_mode": "replace"}
    body = {
        "query": {"function_score": {"query": {"match_all": {}}, **drawn}},
        "size": size,
        "_source": False,
        "track_total_hits": False,
    }
    return [hit["_id"] for hit in hits_of(checked(client.call("POST", f"/{index}/_search", body), index))]


_PATH = "metadata."


def as_indexed(id: str, source: Mapping[str, Any], fields: Mapping[str, FieldType]) -> Document:
    """Return a document with its values as the server has indexed them.

    Values of unknown types stay unchanged. Several numbers or booleans become a tuple.

    :param id: the document's id on the server.
    :param fields: the fields that the index has declared.
    """
    metadata: dict[str, list[Any]] = {}
    several = set()
    for stored, value in _entries(source):
        name = field_name(stored)
        if isinstance(value, list) or name in metadata:
            several.add(name)
        values = [_coerced(one, fields.get(name)) for one in _flat(value)]
        metadata.setdefault(name, []).extend(one for one in values if one is not None)
    return Document(
        id,
        _text(source.get("text")),
        _text(source.get("title")),
        {name: _value(values, name in several) for name, values in metadata.items() if values},
    )


def _entries(source: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of metadata: of an object, a list of objects, or top-level keys with a path."""
    for part in _flat(source.get("metadata")):
        if isinstance(part, Mapping):
            yield from part.items()
    for key, value in source.items():
        if key.startswith(_PATH):
            yield key.removeprefix(_PATH), value


def _flat(value: Any) -> Iterator[Any]:
    """Yield the values in lists of any depth, without nulls."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif value is not None:
        yield value


def _value(values: list[Any], several: bool) -> Any:
    if len(values) > 1 or (several and isinstance(values[0], str)):
        return tuple(values)
    return values[0]


def _text(value: Any) -> str:
    return " ".join(_words(_flat(value)))


def _words(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _coerced(value: Any, kind: FieldType | None) -> Any:
    """Return a value as a field of the given type reads it, None for nothing."""
    match kind:
        case "keyword" if isinstance(value, int | float):  # includes booleans
            return msgspec.json.encode(value).decode()
        case "long" if isinstance(value, str | float):
            return _number(value, whole=True)
        case "double" if isinstance(value, str):
            return _number(value.rstrip("dDfF"), whole=False)  # suffixes of Java's literals
        case "boolean" if isinstance(value, str):
            return {"true": True, "false": False, "": False}.get(value, value)
        case "date" if value == "":
            return None
        case "date":
            return as_a_server_reads(value) or value
    return value


def _number(value: str | float, *, whole: bool) -> Any:
    if value == "":
        return None
    try:
        number = Decimal(value)
        return int(number) if whole else float(number)  # a server cuts decimals off
    except (InvalidOperation, ValueError, OverflowError):
        return value
