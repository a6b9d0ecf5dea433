"""How many rejected records a job tolerates before it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from hybrid_search.errors import UsageError
from hybrid_search.loaders.intake import Source

__all__ = ["DEFAULT", "Allowance"]

_WRITTEN = re.compile(r"(\d{1,12}|\d{1,3}(?:\.\d{1,9})?%)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many records may be rejected: a number over all sources, or a share of each source.

    A share is checked for each source by itself, so that a judgement file that is rejected whole can't hide behind a
    large corpus.

    :ivar count: most rejected records over all sources; None for no such limit.
    :ivar share: largest share of each source's records, 0..1; None for no such limit.
    """

    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``20`` (records) or ``1%`` (of each file's records).

        :raises UsageError: if it is neither.
        """
        if not _WRITTEN.fullmatch(text) or (text.endswith("%") and float(text[:-1]) > 100):
            raise UsageError(f"{text!r} is no allowance: write a number of records, such as 20, or a share, such as 1%")
        return cls(share=float(text[:-1]) / 100) if text.endswith("%") else cls(count=int(text))

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{self.share:.10%}".rstrip("0%").rstrip(".") + "%"

    def allows(self, sources: Mapping[str, Source]) -> bool:
        """Return whether the rejections of all sources are within the allowance.

        A source without a record count (documents that an index rejected) is compared with the largest of the others.
        """
        rejected = sum(source.rejected for source in sources.values())
        largest = max((source.records for source in sources.values()), default=0)
        within = self.count is None or rejected <= self.count
        if self.share is None:
            return within
        return within and all(one.rejected <= self.share * (one.records or largest) for one in sources.values())


DEFAULT = Allowance(share=0.01)
"""1 %: published collections contain a few blank documents."""
