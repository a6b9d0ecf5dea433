"""Keep how far a load came, moment by moment, in the index NAME-statistics: the ingest panel of Dashboards reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.companion_index import BackgroundWriter

__all__ = ["LoadProgress", "load_progress"]

EVERY = 1.0
"""Seconds between two entries at least."""


class LoadProgress(Protocol):
    """Is told how far a load came."""

    def reached(self, documents: int) -> None:
        """So many documents of this load are acknowledged."""


class _Silent:
    def reached(self, documents: int) -> None:
        return None


class _Kept:
    """Writes entries in the background; a load neither waits for them nor fails with them.

    :param first: documents acknowledged before, by the load that this one goes on with.
    """

    def __init__(self, writer: BackgroundWriter, index: str, first: int) -> None:
        self._writer = writer
        self._load, self._index = uuid4().hex, index
        self._first = self._last = first
        self._started = self._written = time.monotonic()
        self._put(first)

    def reached(self, documents: int) -> None:
        self._last = documents
        if time.monotonic() - self._written >= EVERY:
            self._put(documents)

    def end(self) -> None:
        self._put(self._last)

    def _put(self, documents: int) -> None:
        self._written = now = time.monotonic()
        seconds = now - self._started
        entry: dict[str, Any] = {
            "kind": "load",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "index": self._index,
            "load": self._load,
            "documents": documents,
            "seconds": round(seconds, 3),
        }
        if seconds:
            entry["per_second"] = round((documents - self._first) / seconds, 1)
        self._writer.put(lambda: [entry])


@contextmanager
def load_progress(engine: OpenSearchEngine, name: str, first: int) -> Iterator[LoadProgress]:
    """Keep a load's progress for as long as the block runs.

    :param name: the alias or index beside whose name it is kept; empty for not.
    :param first: documents acknowledged before.
    """
    if not name:
        yield _Silent()
        return
    from hybrid_search.engines.opensearch.companion_index import BackgroundWriter, CompanionIndex

    place = engine.place
    writer = BackgroundWriter(CompanionIndex(place.asked.at(name), "statistics", patient=False))
    try:
        kept = _Kept(writer, place.address.index, first)
        try:
            yield kept
        finally:
            kept.end()
    finally:
        writer.close()
