"""What an attack is: numbered trials, each made again from its number and the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Attack", "Attempt", "Bench", "Finding", "Outcome", "Tally"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation of what must hold.

    :ivar what: which promise was broken, with the values.
    :ivar where: what makes it again, as in a kill point, an input or the operations before.
    """

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial gave.

    :ivar counted: how many of the attack's units it tried (kill points, searches, inputs); at least 1.
    :ivar findings: empty where all held.
    """

    counted: int
    findings: tuple[Finding, ...] = ()


Attempt = Callable[[int], Outcome]
"""Carries out the trial of a number. The same number, seed and planted fault make the same trial, but for timing."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where an attack works.

    :ivar folder: empty at first, the attack's own; what it leaves there is thrown away.
    :ivar seed: of everything that is drawn.
    :ivar server: the URL of a running OpenSearch node, as in ``http://127.0.0.1:9200``; None where it isn't needed.
    :ivar planted: the name of the fault that is planted in the product (see :attr:`Attack.planted`); None for the
        product as it is.
    """

    folder: Path
    seed: int = 0
    server: str | None = None
    planted: str | None = None

    def draw(self, trial: int) -> int:
        """Return the seed of a trial's own generator."""
        return self.seed * 1_000_003 + trial


class Attack(Protocol):
    """One way to break the product.

    :ivar name: as in ``kills-embedded``; unique.
    :ivar unit: what is counted, in the plural.
    :ivar wanted: how many units the whole campaign tries.
    :ivar short: how many ``make test`` tries; a few seconds' worth.
    :ivar needs_server: whether :attr:`Bench.server` must be there.
    :ivar planted: the null controls: faults that the attack can plant in the product, each with what it is. An
        attack that does not find a planted fault within a few times ``short`` units is blind, and the campaign fails.
    """

    name: str
    unit: str
    wanted: int
    short: int
    needs_server: bool
    planted: Mapping[str, str]

    def prepared(self, bench: Bench) -> AbstractContextManager[Attempt]:
        """Make what the trials share; they run inside the context, one after another."""
        ...


@dataclass(slots=True)
class Tally:
    """The sum of outcomes."""

    counted: int = 0
    trials: int = 0
    seconds: float = 0.0
    findings: list[tuple[int, Finding]] = field(default_factory=list)

    def take(self, trial: int, outcome: Outcome) -> None:
        """Add a trial's outcome."""
        self.counted += outcome.counted
        self.trials += 1
        self.findings += [(trial, finding) for finding in outcome.findings]
