"""The attack ``power-loss``: see :mod:`campaign.losses.states`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.seam.forge import forge
from campaign.seam.models import small_model

__all__ = ["PowerLoss"]

_STATES = 15


@dataclass(frozen=True, slots=True)
class PowerLoss:
    """The power goes while an index in a folder is changed: some of what was written and not forced is missing."""

    name: str = "power-loss"
    unit: str = "states"
    wanted: int = 2_500
    short: int = 30
    needs_server: bool = False
    planted: Mapping[str, str] = field(
        default_factory=lambda: {
            "files-not-forced": "files are renamed to their place before their content is on the disk",
            "folders-not-forced": "a folder's names are not forced to the disk",
            "database-not-forced": "SQLite does not force its log to the disk",
        }
    )

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        model = str(small_model())

        def attempt(trial: int) -> Outcome:
            told = forge().ask(
                "campaign.losses.trial:power_lost",
                seed=bench.draw(trial), part=0, states=_STATES, model=model, folder=str(bench.folder),
                fault=bench.planted,
            )  # fmt: skip
            return Outcome(told["counted"], tuple(Finding(**finding) for finding in told["findings"]))

        yield attempt
