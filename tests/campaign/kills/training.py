"""The attack ``kills-training``: see :mod:`campaign.kills.training_points`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.seam.forge import forge

__all__ = ["KillsTraining"]

_POINTS = 10
_FEW = 2


@dataclass(frozen=True, slots=True)
class KillsTraining:
    """A training that is killed at one of its steps, and given again: the same model, and nothing beside it."""

    name: str = "kills-training"
    unit: str = "kill points"
    wanted: int = 60
    short: int = 2
    needs_server: bool = False
    planted: Mapping[str, str] = field(default_factory=lambda: {"work-left": "a resumed run leaves its work folder"})

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        _warm()

        def attempt(trial: int) -> Outcome:
            told = forge().ask(
                "campaign.kills.training_points:killed_while_training",
                seed=bench.draw(trial), points=_POINTS if trial else _FEW, folder=str(bench.folder),
                fault=bench.planted,
            )  # fmt: skip
            return Outcome(told["counted"], tuple(Finding(**finding) for finding in told["findings"]))

        yield attempt


@lru_cache(maxsize=1)
def _warm() -> None:
    """Let the forge import what a training needs, once."""
    with tempfile.TemporaryDirectory() as folder:
        forge().warm(forge().ask("campaign.kills.training_points:modules_of_training", folder=folder))
