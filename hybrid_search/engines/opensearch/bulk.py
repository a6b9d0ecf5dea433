"""Sending documents, a bounded batch a request, and sorting out what the server says about each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.client import Client, failure, reason_of, shortened
from hybrid_search.engines.opensearch.records import field_name
from hybrid_search.streams import in_batches

__all__ = ["Refused", "delete", "put"]

Source = dict[str, Any]

_MOST_BYTES = 8 << 20
_MOST_DOCUMENTS = 1_000
_METADATA_FIELD = re.compile(r"\[metadata\.([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the server refused a document; ``field`` is empty when it does not say."""

    field: str
    reason: str


def put(client: Client, index: str, sources: Sequence[Source]) -> dict[str, Refused]:
    """Index documents; those that are there already are replaced and keep their place in the order of addition.

    Every document is first sent as a new one: for a load, which is the common case, that costs nothing. The server
    refuses those that it has; they are sent again with the ``added`` of what they replace.

    :param sources: as :func:`~hybrid_search.engines.opensearch.records.to_source` makes them, each id once.
    :return: id -> why it was refused, for those that were.
    :raises SearchIndexError: if the server refuses for a reason that is not the document's.
    """
    refused: dict[str, Refused] = {}
    known: list[str] = []
    for id, item in _sent(client, index, "create", sources):
        if item["status"] == HTTPStatus.CONFLICT:
            known.append(id)
        elif "error" in item:
            refused[id] = _refused(item, index)
    if known:
        places = _places(client, index, known)
        by_id = {source["id"]: source for source in sources}
        again = [{**by_id[id], "added": places.get(id, by_id[id]["added"])} for id in known]
        answers = _sent(client, index, "index", again)
        refused.update((id, _refused(item, index)) for id, item in answers if "error" in item)
    return refused


def delete(client: Client, index: str, ids: Iterable[str]) -> int:
    """Delete documents; returns how many were there.

    :raises SearchIndexError: if the server refuses.
    """
    deleted = 0
    for batch in in_batches(dict.fromkeys(ids), _MOST_DOCUMENTS):
        answer = client.lines(f"/{index}/_bulk", [{"delete": {"_id": id}} for id in batch])
        for item in answer["items"]:
            if "error" in item["delete"]:
                raise failure(item["delete"]["status"], item["delete"], index)
            deleted += item["delete"]["result"] == "deleted"
    return deleted


def _sent(
    client: Client, index: str, action: str, sources: Iterable[Source]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for batch in _batches(sources):
        lines: list[bytes] = []
        for id, encoded in batch:
            lines += (msgspec.json.encode({action: {"_id": id}}), encoded)
        answer = client.lines(f"/{index}/_bulk", lines)
        for (id, _), item in zip(batch, answer["items"], strict=True):
            yield id, item[action]


def _batches(sources: Iterable[Source]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for source in sources:
        encoded = msgspec.json.encode(source)
        if batch and (len(batch) == _MOST_DOCUMENTS or size + len(encoded) > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((source["id"], encoded))
        size += len(encoded)
    if batch:
        yield batch


def _places(client: Client, index: str, ids: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for batch in in_batches(ids, _MOST_DOCUMENTS):
        found = client.call("POST", f"/{index}/_mget", {"ids": batch}, _source_includes="added")
        places.update((one["_id"], one["_source"]["added"]) for one in found["docs"] if one.get("found"))
    return places


def _refused(item: Mapping[str, Any], index: str) -> Refused:
    """Tell a refusal of the document from one that has nothing to do with it."""
    if item["status"] != HTTPStatus.BAD_REQUEST:
        raise failure(item["status"], item, index)
    told = str(item["error"].get("reason", ""))
    _, cause = reason_of(item["error"])
    field = _METADATA_FIELD.search(told)
    reason = told if cause in told else f"{told}: {cause}"
    return Refused(field_name(field[1]) if field else "", f"the server refused it: {shortened(reason)}")
