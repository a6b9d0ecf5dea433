"""Inputs out of hypothesis strategies: the same ones for the same seed, and small ones for what is found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from campaign.attack import Finding, Outcome
from campaign.fuzz.expectation import Broken, shown

__all__ = ["drawn", "searched"]

T = TypeVar("T")

_SHOWN = 3_000

_SHRINKING = 5.0
"""Seconds for making a failing input small."""

_SLOW = 2.0


def drawn(strategy: SearchStrategy[T], number: int, of: int) -> list[T]:
    """Draw inputs, at most ``of``; fewer where the strategy has no more.

    :param number: the seed.
    """
    inputs: list[T] = []

    def keep(one: T) -> None:
        inputs.append(one)

    _run(strategy, keep, number, of, (Phase.generate,))
    return inputs[:of]


@dataclass(slots=True)
class _Seen:
    """What came of the inputs so far."""

    counted: int = 0
    until: float = math.inf
    failures: list[Finding] = field(default_factory=list)


def searched(strategy: SearchStrategy[T], check: Callable[[T], None], number: int, of: int, *, what: str) -> Outcome:
    """Draw inputs and check each; one that breaks a promise is made as small as hypothesis can.

    :param check: raises :class:`Broken`; must not depend on what was checked before.
    :param what: goes in front of the finding.
    """
    seen = _Seen()

    def tried(one: T) -> None:
        if time.monotonic() > seen.until:  # made small enough
            return
        seen.counted += not seen.failures
        started = time.monotonic()
        try:
            check(one)
        except Broken as broken:
            if not seen.failures:  # a hang is not tried again
                seen.until = started + _SHRINKING if time.monotonic() < started + _SLOW else 0.0
            seen.failures.append(Finding(f"{what}: {broken}", shown(one, _SHOWN)))
            raise

    try:
        _run(strategy, tried, number, of, (Phase.generate, Phase.shrink))
    except Broken:
        pass
    except Exception as error:  # as hypothesis' own Flaky, which says less than the failure does
        if not seen.failures:
            raise
        del error
    return Outcome(max(1, seen.counted), tuple(seen.failures[-1:]))


def _run(
    strategy: SearchStrategy[Any], body: Callable[[Any], None], number: int, of: int, phases: tuple[Phase, ...]
) -> None:
    how = settings(
        max_examples=of,
        phases=phases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    seed(number)(how(given(strategy)(body)))()
