"""The attack ``kills-server``: see :mod:`campaign.kills.server_points`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.kills.stories import STORIES
from campaign.seam.forge import forge
from campaign.seam.models import other_model, small_model

__all__ = ["KillsServer"]

_POINTS = 4


@dataclass(frozen=True, slots=True)
class KillsServer:
    """A command on an index of a server, killed at one of its requests, before it is sent or after."""

    name: str = "kills-server"
    unit: str = "kill points"
    wanted: int = 320
    short: int = 4
    needs_server: bool = True
    planted: Mapping[str, str] = field(
        default_factory=lambda: {"early-swap": "an alias moves to an index that is not loaded yet"}
    )

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        model, other = str(small_model()), str(other_model())
        known: dict[int, Any] = {}

        def attempt(trial: int) -> Outcome:
            drawn = random.Random(bench.draw(trial))
            story = _ORDER[trial % len(_ORDER)]
            told = forge().ask(
                "campaign.kills.server_points:killed_at_requests",
                story=story, seed=f"{bench.seed}-{trial}", share=[drawn.random() for _ in range(_POINTS)],
                server=bench.server, model=model, other=other, folder=str(bench.folder), known=known.get(story),
                fault=bench.planted,
            )  # fmt: skip
            known[story] = told["known"]
            return Outcome(told["counted"], tuple(Finding(**finding) for finding in told["findings"]))

        yield attempt


_QUICK = [number for number, story in enumerate(STORIES) if not story.needs_ml]
_SLOW = [number for number, story in enumerate(STORIES) if story.needs_ml]
_BEHIND_ALIAS = next(number for number, story in enumerate(STORIES) if story.name == "a load behind an alias")
_ORDER = [_BEHIND_ALIAS, *(n for n in _QUICK if n != _BEHIND_ALIAS), *_QUICK, *_SLOW]
"""Deploying takes a while: once where the others come twice."""
