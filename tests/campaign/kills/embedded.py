"""The attack ``kills-embedded``: see :mod:`campaign.kills.points`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.seam.forge import forge
from campaign.seam.models import small_model

__all__ = ["KillsEmbedded"]

_PARTS, _SCRIPTS = 24, 12


@dataclass(frozen=True, slots=True)
class KillsEmbedded:
    """An index in a folder whose writer is killed at each of its steps.

    A script of operations has a few hundred steps; a trial takes every twenty-fourth of them.
    Trials go through twelve scripts in turn, until each of their steps has had its kill; then come twelve others.
    """

    name: str = "kills-embedded"
    unit: str = "kill points"
    wanted: int = 10_000
    short: int = 60
    needs_server: bool = False
    planted: Mapping[str, str] = field(
        default_factory=lambda: {
            "acknowledged-early": "a commit returns before it is durable",
            "scratch-file": "a file beside a manifest is left by a killed process",
            "model-in-place": "a model's files are copied one by one into their place",
            "not-replayed": "an opening does not bring the search caches up to date",
        }
    )

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        model = str(small_model())

        def attempt(trial: int) -> Outcome:
            done, rest = divmod(trial, _SCRIPTS * _PARTS)
            turn, script = divmod(rest, _SCRIPTS)
            part = (turn + 5 * script) % _PARTS  # scripts begin alike, and trials in a row should not
            told = forge().ask(
                "campaign.kills.points:killed",
                seed=bench.draw(done * _SCRIPTS + script), model=model, folder=str(bench.folder), first=part,
                stride=_PARTS,
                real=2, random_moments=1, planted=bench.planted,
            )  # fmt: skip
            return Outcome(told["counted"], tuple(Finding(**finding) for finding in told["findings"]))

        yield attempt
