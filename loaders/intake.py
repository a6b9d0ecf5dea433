"""What a data set's sources gave and what of it was refused, counted: what an allowance is measured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hybrid_search.errors import DataError
from hybrid_search.types import Rejection
from loaders.seen import Seen

__all__ = ["Intake", "Reject", "Source", "count_records", "counted"]

Reject = Callable[[Rejection], None]
"""Takes a record that was refused."""


@dataclass(slots=True)
class Source:
    """One file (or part of the hub's data).

    :ivar records: lines, rows or objects in it, as far as it was read; 0 where it is empty or nobody counted.
    :ivar rejected: how many of them were refused.
    :ivar first: the first that was.
    :ivar was_read: a pass over it came to its end.
    """

    records: int = 0
    rejected: int = 0
    first: Rejection | None = None
    was_read: bool = False

    @property
    def is_lost(self) -> bool:
        """Nothing of it was taken."""
        return self.rejected > 0 and self.rejected >= self.records > 0


class Intake:
    """Passes each rejection on the first time only, as a file is read for several splits, and counts.

    :ivar sources: by name, as rejections name them.
    """

    def __init__(self, reject: Reject) -> None:
        self.sources: dict[str, Source] = {}
        self._reject = reject
        self._seen = Seen()
        self._count = 0

    def __call__(self, rejection: Rejection) -> None:
        """Take one rejection."""
        place = f"{rejection.source}\0{rejection.line}\0{rejection.field}"
        # Without a line two records of one source can't be told apart, so each passes.
        if rejection.line and self._seen.add(place) != "new":
            return
        source = self._source(rejection.source)
        source.rejected += 1
        source.first = source.first or rejection
        self._count += 1
        self._reject(rejection)

    @property
    def count(self) -> int:
        """How many records were refused."""
        return self._count

    @property
    def lost(self) -> Mapping[str, Source]:
        """The sources of which nothing was taken."""
        return {name: source for name, source in self.sources.items() if source.is_lost}

    @property
    def empty(self) -> list[str]:
        """The sources that were read to their end and have nothing in them."""
        return [name for name, source in self.sources.items() if source.was_read and not source.records]

    def read(self, source: str, records: int, *, to_the_end: bool = True) -> None:
        """Note how many records a pass over a source met."""
        noted = self._source(source)
        noted.records = max(noted.records, records)
        noted.was_read |= to_the_end

    def check_not_empty(self, source: str, what: str) -> None:
        """Check that a pass over a source met something, be it taken or refused.

        :raises DataError: if it did not.
        """
        if not self._source(source).records:
            raise DataError(f"{source} is empty: there are no {what} in it; check that it was written to its end")

    def _source(self, name: str) -> Source:
        return self.sources.setdefault(name, Source())


def counted(reject: Reject) -> Intake:
    """Return what counts what passes through it, around what takes rejections."""
    return reject if isinstance(reject, Intake) else Intake(reject)


def count_records(reject: Reject, source: str, records: int, *, to_the_end: bool) -> None:
    """Note what a pass met, where somebody counts."""
    if isinstance(reject, Intake):
        reject.read(source, records, to_the_end=to_the_end)
