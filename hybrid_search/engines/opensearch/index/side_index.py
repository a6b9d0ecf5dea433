"""Companion indexes of an index: their names, and writing to them, directly or in the background.

Their names begin with the name by which the index was opened, an alias or an index: behind an alias they outlive each
index that it stands for. They are only read by people and Dashboards, and each can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from hybrid_search import mappings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection_settings import resolved
from hybrid_search.engines.opensearch.transport.failures import failure
from hybrid_search.errors import HybridSearchError, IndexExists
from hybrid_search.location import Address

__all__ = ["COMPANIONS", "BackgroundWriter", "Companion", "CompanionIndex", "companion_index"]

Companion = Literal["queries", "evaluations", "statistics"]

COMPANIONS: tuple[Companion, ...] = get_args(Companion)
"""The kinds: answered queries; results of evaluations; figures on a sample of the documents."""

_log = logging.getLogger(__name__)

_WAITING = 10_000
_AT_ONCE = 500
_LINGER = 0.5
_LONGEST_WAIT = 10.0

Entry = Mapping[str, Any]
Make = Callable[[], Iterable[Entry]]
"""Makes entries; called in the background thread."""


class CompanionIndex:
    """One companion index.

    :param address: of the index that it belongs to, by the name with which that was opened.
    :param patient: use the connection's retries and time-outs; otherwise one try of at most 10 seconds.
    """

    def __init__(self, address: Address, kind: Companion, *, patient: bool = True) -> None:
        self.kind: Companion = kind
        self.name = companion_index(address.index, kind)
        connection = resolved(address)
        if not patient:
            connection = replace(
                connection,
                retries=0,
                connect_timeout=min(connection.connect_timeout, _LONGEST_WAIT),
                read_timeout=min(connection.read_timeout, _LONGEST_WAIT),
            )
        self._client = Client(address, connection)

    def ensure(self) -> None:
        """Create the index unless it exists.

        :raises SearchIndexError: if the server refuses, or can't be reached.
        """
        if not self._client.call("HEAD", f"/{self.name}"):
            with contextlib.suppress(IndexExists):
                self._client.call("PUT", f"/{self.name}", mappings.render(f"index/{self.kind}"))

    def write(self, entries: Iterable[Entry], *, visible: bool = False) -> None:
        """Add entries.

        :param visible: wait until searches find them.
        :raises SearchIndexError: if one is refused, or the server can't be reached.
        """
        # Checked each time: a bulk request would create a missing index itself, with guessed types.
        self.ensure()
        action: Entry = {"create": {}}
        lines = [line for entry in entries for line in (action, entry)]
        parameters = {"refresh": "true"} if visible else {}
        answer = self._client.lines(f"/{self.name}/_bulk", lines, **parameters)
        for item in answer["items"] if answer["errors"] else ():
            if error := item["create"].get("error"):
                raise failure(item["create"]["status"], {"error": error}, self.name)

    def clear(self, query: Mapping[str, Any]) -> None:
        """Delete the entries that match a query.

        :raises SearchIndexError: if the server refuses, or can't be reached.
        """
        self.ensure()
        body = {"query": query}
        self._client.call("POST", f"/{self.name}/_delete_by_query", body, conflicts="proceed", refresh="true")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class BackgroundWriter:
    """Writes entries in a thread of its own: :meth:`put` neither waits nor fails.

    Entries are dropped if the index can't be written or the queue is full; this is logged once.
    """

    def __init__(self, index: CompanionIndex) -> None:
        self._index = index
        self._waiting: queue.Queue[Make | None] = queue.Queue(_WAITING)
        self._complained = False
        self._thread = threading.Thread(target=self._work, name=f"writes {index.name}", daemon=True)
        self._thread.start()

    def put(self, make: Make) -> None:
        """Queue entries to be made and written by the thread."""
        try:
            self._waiting.put_nowait(make)
        except queue.Full:
            self._complain("more entries come than the server takes")

    def close(self, patience: float = 3.0) -> None:
        """Write the queued entries, for at most ``patience`` seconds, and drop the others."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._complain(f"the server did not take the last entries within {patience:g} s")

    def _work(self) -> None:
        try:
            last = False
            while not last:
                makes, last = self._next()
                self._write(makes)
        finally:
            self._index.close()

    def _next(self) -> tuple[list[Make], bool]:
        """Wait for entries and collect more for half a second; returns them, and whether the writer is closed."""
        makes: list[Make] = []
        wait: float | None = None
        while len(makes) < _AT_ONCE:
            try:
                make = self._waiting.get(timeout=wait)
            except queue.Empty:
                break
            if make is None:
                return makes, True
            makes.append(make)
            wait = _LINGER
        return makes, False

    def _write(self, makes: Iterable[Make]) -> None:
        try:
            if entries := [entry for make in makes for entry in make()]:
                self._index.write(entries)
        except HybridSearchError as error:
            self._complain(str(error))
        except Exception as error:  # no error here may affect searches
            self._complain(f"{type(error).__name__}: {error}")

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("%s is not written, searching goes on without it: %s", self._index.name, why)


def companion_index(name: str, kind: Companion) -> str:
    """Return the name of a companion index; its mapping is ``mappings/index/KIND.json``."""
    return f"{name}-{kind}"
