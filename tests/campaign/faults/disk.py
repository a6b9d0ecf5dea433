"""The attack ``disk-faults``: see :mod:`campaign.faults.steps` and :mod:`campaign.faults.damage`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.seam.forge import forge
from campaign.seam.models import small_model

__all__ = ["DiskFaults"]

_FAULTS, _MEMORY, _DAMAGES = 6, 1, 15


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """A disk that is full, read-only or broken from a step on or at it alone, damaged files, little memory."""

    name: str = "disk-faults"
    unit: str = "faults"
    wanted: int = 3_000
    short: int = 44
    needs_server: bool = False
    planted: Mapping[str, str] = field(
        default_factory=lambda: {
            "error-swallowed": "a commit that fails says nothing",
            "error-in-raw": "an error of the system is not turned into one of the product",
            "not-checked": "checksums are not compared",
        }
    )

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        model = str(small_model())

        def attempt(trial: int) -> Outcome:
            common = {"seed": bench.draw(trial // 2), "part": 0, "model": model, "folder": str(bench.folder)}
            if trial % 2:
                told = forge().ask("campaign.faults.damage:damaged", times=_DAMAGES, fault=bench.planted, **common)
            else:
                told = forge().ask(
                    "campaign.faults.steps:failed", faults=_FAULTS, memory=_MEMORY, fault=bench.planted, **common
                )
            return Outcome(told["counted"], tuple(Finding(**finding) for finding in told["findings"]))

        yield attempt
