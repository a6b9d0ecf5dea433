"""What a check finds: a fault, how bad it is, and the commands that mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from hybrid_search.engines.opensearch.doctor.vitals import IndexVitals, Vitals

__all__ = ["Check", "Finding", "IndexCheck", "Severity"]

Severity = Literal["error", "warning", "note"]
"""Something does not work or documents are at risk; it works, but not as it should; worth knowing, and no fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    :ivar check: the name of the check, for programs.
    :ivar subject: the server, the node or the index.
    :ivar mend: commands that mend it, in order; with a note mostly none.
    """

    check: str
    severity: Severity
    subject: str
    fault: str
    mend: tuple[str, ...] = ()


Check = Callable[[Vitals], Iterator[Finding]]
IndexCheck = Callable[[Vitals, IndexVitals], Iterator[Finding]]
