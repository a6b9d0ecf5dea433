"""How many refused records a data set is known to have, so that a script need not stop at them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from hybrid_search.errors import UsageError
from loaders.intake import Source

__all__ = ["DEFAULT", "NOTHING", "Allowance"]

_WRITTEN = re.compile(r"(\d{1,12}|\d{1,3}(?:\.\d{1,9})?%)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be refused: so many records in all, or so large a part of each source.

    A share holds for each source: where a file of judgements is refused whole, a large corpus beside it is no excuse.

    :ivar count: records; None for no limit but the share.
    :ivar share: of each source's records, 0..1; None for no limit but the count.
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
        """Tell whether what was refused of all sources is allowed.

        What an index refuses came out of the other sources, so it is measured by the largest of them.
        """
        rejected = sum(source.rejected for source in sources.values())
        largest = max((source.records for source in sources.values()), default=0)
        within = self.count is None or rejected <= self.count
        if self.share is None:
            return within
        return within and all(one.rejected <= self.share * (one.records or largest) for one in sources.values())


DEFAULT = Allowance(share=0.01)
"""A few blank documents, as published collections have them."""

NOTHING = Allowance(count=0)
