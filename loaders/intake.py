"""Counts the records of a data set's sources and those that were rejected; an allowance is checked against this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hybrid_search.errors import DataError
from hybrid_search.loaders.seen import Seen
from hybrid_search.types import Rejection

__all__ = ["Intake", "Reject", "Source", "count_records", "counted"]

Reject = Callable[[Rejection], None]
"""Called with each rejected record."""


@dataclass(slots=True)
class Source:
    """Counts of one file (or part of the hub's data).

    :ivar records: lines, rows or objects read so far; 0 if it is empty or was not counted.
    :ivar rejected: number of rejected records.
    :ivar first: the first rejection.
    :ivar was_read: whether a pass reached the end of the source.
    """

    records: int = 0
    rejected: int = 0
    first: Rejection | None = None
    was_read: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether every record was rejected."""
        return self.rejected > 0 and self.rejected >= self.records > 0


class Intake:
    """Counts rejections and passes each on once, although a file may be read several times (for several splits).

    :ivar sources: name of the source, as in the rejections -> its counts.
    """

    def __init__(self, reject: Reject) -> None:
        self.sources: dict[str, Source] = {}
        self._reject = reject
        self._seen = Seen()
        self._count = 0

    def __call__(self, rejection: Rejection) -> None:
        """Count a rejection and pass it on, unless the same line and field was rejected before."""
        key = f"{rejection.source}\0{rejection.line}\0{rejection.field}"
        # Without line numbers, repeated rejections can't be recognised, so all are passed on.
        if rejection.line and self._seen.add(key) != "new":
            return
        source = self._source(rejection.source)
        source.rejected += 1
        source.first = source.first or rejection
        self._count += 1
        self._reject(rejection)

    @property
    def count(self) -> int:
        """Number of rejected records."""
        return self._count

    @property
    def lost(self) -> Mapping[str, Source]:
        """The sources of which every record was rejected."""
        return {name: source for name, source in self.sources.items() if source.is_lost}

    @property
    def empty(self) -> list[str]:
        """Names of the sources that were read to their end and contain no record."""
        return [name for name, source in self.sources.items() if source.was_read and not source.records]

    def read(self, source: str, records: int, *, to_the_end: bool = True) -> None:
        """Record how many records a pass over a source has read."""
        noted = self._source(source)
        noted.records = max(noted.records, records)
        noted.was_read |= to_the_end

    def check_not_empty(self, source: str, what: str) -> None:
        """Check that a pass over a source has read at least one record, accepted or rejected.

        :raises DataError: if the source is empty.
        """
        if not self._source(source).records:
            raise DataError(f"{source} is empty: there are no {what} in it; check that it was written to its end")

    def _source(self, name: str) -> Source:
        return self.sources.setdefault(name, Source())


def counted(reject: Reject) -> Intake:
    """Wrap a callable in an :class:`Intake`, unless it is one already."""
    return reject if isinstance(reject, Intake) else Intake(reject)


def count_records(reject: Reject, source: str, records: int, *, to_the_end: bool) -> None:
    """Record how many records a pass has read, if ``reject`` counts them."""
    if isinstance(reject, Intake):
        reject.read(source, records, to_the_end=to_the_end)
