"""Sends documents until the server has accepted or rejected each; retries are sent in smaller requests.

Sending a request twice is harmless: ids are the documents' own, so what arrived the first time is replaced by itself.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from hybrid_search.engines.opensearch.index.document_json import Item, field_name
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import failure, reason_of, shortened, taken_apart
from hybrid_search.engines.opensearch.transport.plan import pauses
from hybrid_search.engines.opensearch.writing.pacing import Pace, Traffic, cut
from hybrid_search.errors import SearchIndexError
from hybrid_search.streams import in_batches

__all__ = ["RETRIES", "BulkSender", "Interrupted", "Refused", "delete"]

RETRIES = 16
"""Further attempts in a row in which no document gets through, before giving up; pauses of about two minutes."""

_MOST_IDS = 1_000
_METADATA_FIELD = re.compile(r"\[metadata\.([^\]]+)\]")
_READ = "items.*.status,items.*.error"
_SHARD_PATIENCE = "30s"
"""How long the server waits for an unavailable shard before it answers 503; less than the client's time-out."""

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the server rejected a document; ``field`` is empty if unknown."""

    field: str
    reason: str


class Interrupted(SearchIndexError):
    """Sending was stopped, because another thread failed or the load was interrupted."""


@dataclass(slots=True)
class _Tried:
    """The outcome of one request: final answers, documents to send again, and the error that caused the latter."""

    answered: list[tuple[Item, Answer]] = field(default_factory=list)
    again: list[Item] = field(default_factory=list)
    error: SearchIndexError | None = None


class BulkSender:
    """Sends documents to one index. Thread-safe; threads share pace and counts.

    :param retries: further attempts in a row in which no document gets through.
    """

    def __init__(self, client: Client, index: str, *, retries: int = RETRIES) -> None:
        self.traffic = Traffic()
        self._client = client
        self._index = index
        self._retries = retries
        self._pace = Pace()
        self._stopped = threading.Event()

    def put(self, items: Sequence[Item]) -> dict[str, Refused]:
        """Index documents; existing ones are replaced and keep their position in the order of addition.

        Each document is first sent as a new one, which costs nothing extra in the common case of a load. The server
        rejects those that exist; they are sent again with the ``added`` of the documents that they replace.

        :param items: with distinct ids.
        :return: id -> why it was rejected; all other documents are durable on the server.
        :raises SearchIndexError: if the server refuses for a reason that does not concern single documents, or remains
            overloaded or unreachable in all attempts.
        """
        refused: dict[str, Refused] = {}
        known: list[Item] = []
        for item, answer in self._sent("create", items, {}):
            if answer["status"] == HTTPStatus.CONFLICT:
                known.append(item)
            elif "error" in answer:
                refused[item.id] = _refused(answer)
        if known:
            places = _places(self._client, self._index, [item.id for item in known])
            answers = self._sent("index", known, places)
            refused.update((item.id, _refused(answer)) for item, answer in answers if "error" in answer)
        return refused

    def stop(self) -> None:
        """Make all threads that wait for another attempt give up at once."""
        self._stopped.set()

    def _sent(self, action: str, items: Sequence[Item], places: Mapping[str, int]) -> Iterator[tuple[Item, Answer]]:
        """Yield each document with the server's final answer."""
        waits = pauses(self._retries)
        while items:
            batch, items = cut(items, self._pace.limits)
            tried = self._tried(action, batch, places)
            yield from tried.answered
            if tried.answered:
                waits = pauses(self._retries)
            if tried.error is None:
                self._pace.faster()
            else:
                self._pace.slower()
                self.traffic.sent_back(len(tried.again))
                self._wait(waits, tried.error)
                items = [*tried.again, *items]

    def _tried(self, action: str, batch: Sequence[Item], places: Mapping[str, int]) -> _Tried:
        """Send one request, and select the documents to send again.

        :raises SearchIndexError: for an error that concerns no single document and is not temporary.
        """
        try:
            answers = self._posted(action, batch, places)
        except SearchIndexError as error:
            if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return _Tried(self._in_parts(action, batch, places, error))
            if not error.retryable:
                raise
            return _Tried(again=list(batch), error=error)
        tried = _Tried()
        for item, answer in answers:
            rejected = self._passing(answer)
            if rejected is None:
                tried.answered.append((item, answer))
            else:
                tried.again.append(item)
                tried.error = rejected
        return tried

    @taken_apart("the documents sent")
    def _posted(self, action: str, batch: Sequence[Item], places: Mapping[str, int]) -> list[tuple[Item, Answer]]:
        if self._stopped.is_set():
            raise Interrupted(f"{self._index}: sending was stopped")
        lines = [line for item in batch for line in item.lines(action, places.get(item.id))]
        self.traffic.sent(batch)
        # Without a request_timeout the client library would use the server's timeout.
        waiting = {"timeout": _SHARD_PATIENCE, "request_timeout": self._client.connection.read_timeout}
        answer = self._client.lines(f"/{self._index}/_bulk", lines, filter_path=_READ, **waiting)
        return [(item, outcome[action]) for item, outcome in zip(batch, answer["items"], strict=True)]

    def _in_parts(
        self, action: str, batch: Sequence[Item], places: Mapping[str, int], error: SearchIndexError
    ) -> list[tuple[Item, Answer]]:
        """Send a request that is too large for the server (413) in parts, halved as often as needed."""
        if len(batch) == 1:
            reason = {"type": "request_too_large", "reason": str(error)}
            return [(batch[0], {"status": HTTPStatus.BAD_REQUEST, "error": reason})]
        half = len(batch) // 2
        return [answer for part in (batch[:half], batch[half:]) for answer in self._sent(action, part, places)]

    @taken_apart("the documents sent")
    def _passing(self, answer: Answer) -> SearchIndexError | None:
        """Return the error of a document that was rejected for the moment; None for any other answer.

        :raises SearchIndexError: for an error that concerns no single document and is not temporary.
        """
        if "error" not in answer or answer["status"] in (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT):
            return None
        error = failure(answer["status"], answer, self._index)
        if isinstance(error, SearchIndexError) and error.retryable:
            return error
        raise error

    def _wait(self, waits: Iterator[float], error: SearchIndexError) -> None:
        pause = next(waits, None)
        if pause is None:
            raise type(error)(
                f"{error}; given up after {self._retries + 1} tries in which no document got through; "
                f"those that the server has taken are safe, send the others again (loading with resume=True does)"
            ) from error
        if self._stopped.wait(pause):
            raise Interrupted(f"{self._index}: sending was stopped")


def delete(client: Client, index: str, ids: Iterable[str]) -> int:
    """Delete documents; return how many existed; fewer if an answer was lost and its request sent again.

    :raises SearchIndexError: if the server refuses, in all attempts.
    """
    deleted = 0
    for batch in in_batches(dict.fromkeys(ids), _MOST_IDS):
        waits = pauses(client.connection.retries)
        left: Sequence[str] = batch
        while left:
            gone, left, error = _tried_to_delete(client, index, left)
            deleted += gone
            if error is not None:
                pause = next(waits, None)
                if pause is None:
                    raise error
                time.sleep(pause)
    return deleted


@taken_apart("the documents deleted")
def _tried_to_delete(client: Client, index: str, ids: Sequence[str]) -> tuple[int, list[str], SearchIndexError | None]:
    """Send one request; return how many were deleted, those to send again, and the error that caused it.

    :raises SearchIndexError: for an error that is not temporary.
    """
    try:
        answer = client.lines(f"/{index}/_bulk", [{"delete": {"_id": id}} for id in ids])
    except SearchIndexError as error:
        if not error.retryable:
            raise
        return 0, list(ids), error
    deleted, again = 0, []
    cause: SearchIndexError | None = None
    for id, item in zip(ids, answer["items"], strict=True):
        if "error" not in item["delete"]:
            deleted += item["delete"]["result"] == "deleted"
            continue
        refused = failure(item["delete"]["status"], item["delete"], index)
        if not (isinstance(refused, SearchIndexError) and refused.retryable):
            raise refused
        again.append(id)
        cause = refused
    return deleted, again, cause


@taken_apart("documents that are there")
def _places(client: Client, index: str, ids: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for batch in in_batches(ids, _MOST_IDS):
        found = client.call("POST", f"/{index}/_mget", {"ids": batch}, _source_includes="added")
        places.update((one["_id"], one["_source"]["added"]) for one in found["docs"] if one.get("found"))
    return places


@taken_apart("a document that it refused")
def _refused(answer: Answer) -> Refused:
    message = str(answer["error"].get("reason", ""))
    _, cause = reason_of(answer["error"])
    found = _METADATA_FIELD.search(message)
    reason = message if cause in message else f"{message}: {cause}"
    return Refused(field_name(found[1]) if found else "", f"the server refused it: {shortened(reason)}")
