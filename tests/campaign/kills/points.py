"""A trial: one script in a child, killed at many of its steps, each opened afterwards.

Between two steps nothing on the disk changes, and a step ends before another begins: a copy of the folder between
them is what a SIGKILL there leaves. Most points are such copies of one run; others are real kills, which show that
the copies are what they say, and kills at moments that no step marks.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.kills import planted as faults
from campaign.kills.checks import Checks
from campaign.kills.child import Acknowledged, carry_out
from campaign.kills.scripts import Operation, held_after, made_script
from campaign.seam.folders import copied, quick_folder
from campaign.seam.watching import KILL, End, Step, watched

__all__ = ["Point", "killed", "opened"]


@dataclass(frozen=True, slots=True)
class Point:
    """A folder as a dead process left it.

    :ivar acknowledged: how many operations had returned.
    """

    root: Path
    acknowledged: int
    told: str


class _Copying:
    """Copies the folder before every ``stride``-th step."""

    def __init__(self, root: Path, into: Path, acknowledged: Acknowledged, *, first: int, stride: int) -> None:
        self._root, self._into, self._acknowledged = root, into, acknowledged
        self._first, self._stride = first, stride
        self.points: list[Point] = []

    def before(self, step: Step) -> int:
        if step.number % self._stride == self._first:
            self.keep(f"before {_told(step, self._root)}")
        return 0

    def after(self, step: Step, result: int) -> int:
        return 0

    def keep(self, told: str) -> None:
        """Copy it now."""
        target = self._into / f"copy-{len(self.points)}"
        copied(self._root, target)
        self.points.append(Point(target, self._acknowledged.count, told))


class _Killing:
    """Kills at one step, before it is done or after."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number, self._after = number, after
        self.step: Step | None = None

    def before(self, step: Step) -> int:
        if step.number == self._number:
            self.step = step
            return 0 if self._after else KILL
        return 0

    def after(self, step: Step, result: int) -> int:
        return KILL if step.number == self._number else 0


def killed(
    *, seed: int, model: str, folder: str, first: int, stride: int, real: int, random_moments: int, planted: str | None
) -> dict[str, Any]:
    """Carry out a trial in a fork of the forge; returns how many points were opened and what was found.

    :param first: and ``stride``: which steps are copied.
    :param real: how many steps a process is killed at.
    :param random_moments: how many times a process is killed at a moment that is not a step's.
    """
    script = made_script(seed)
    drawn = random.Random(seed * 7919 + first)
    with quick_folder(Path(folder)) as place:
        trial = _Trial(script, place, Path(model), planted)
        points, steps, seconds = trial.copies(first, stride)
        for _ in range(real):
            points.append(trial.killed_at(drawn.randrange(steps), after=drawn.random() < 0.5))
        for _ in range(random_moments):
            points.append(trial.killed_after(drawn.random() * seconds))
        os.mkdir(place / "undisturbed")
        logging.disable()  # that a cache is built again is what is wanted here
        with faults.planted(planted, side="opener"):
            findings = opened(script, points, Checks(Path(model), place / "undisturbed"))
    return {"counted": len(points), "findings": findings}


class _Trial:
    def __init__(self, script: list[Operation], place: Path, model: Path, planted: str | None) -> None:
        self._script, self._place, self._model, self._planted = script, place, model, planted
        self._roots = 0

    def _root(self) -> Path:
        self._roots += 1
        root = self._place / f"run-{self._roots}"
        root.mkdir()
        return root

    def _work(self, root: Path, acknowledged: Acknowledged) -> Callable[[], None]:
        def work() -> None:
            with faults.planted(self._planted, side="child"):
                carry_out(self._script, root / "index", self._model, acknowledged)

        return work

    def copies(self, first: int, stride: int) -> tuple[list[Point], int, float]:
        """Run the script to its end, with copies on the way; returns them, its steps and its seconds."""
        root, acknowledged = self._root(), Acknowledged()
        copying = _Copying(root, self._place, acknowledged, first=first, stride=stride)
        started = time.perf_counter()
        end = watched(self._work(root, acknowledged), copying, root)
        seconds = time.perf_counter() - started
        if end.status or acknowledged.count != len(self._script):
            raise RuntimeError(f"the script did not end well: {end}")
        copying.keep("at its end, without closing")
        shutil.rmtree(root)
        return copying.points, end.steps, seconds

    def killed_at(self, number: int, *, after: bool) -> Point:
        """Kill a process at a step."""
        root, acknowledged = self._root(), Acknowledged()
        killing = _Killing(number, after=after)
        end = watched(self._work(root, acknowledged), killing, root)
        _must_be_killed_or_done(end)
        step = _told(killing.step, root) if killing.step else "its end"
        return Point(root, acknowledged.count, f"SIGKILL {'after' if after else 'before'} {step}")

    def killed_after(self, seconds: float) -> Point:
        """Kill a process, which nobody traces, after a time."""
        root, acknowledged = self._root(), Acknowledged()
        pid = os.fork()
        if not pid:
            try:
                self._work(root, acknowledged)()
            finally:
                os._exit(0)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return Point(root, acknowledged.count, f"SIGKILL after {seconds:.3f} s")


def opened(script: list[Operation], points: list[Point], checks: Checks) -> list[dict[str, str]]:
    findings = []
    for number, point in enumerate(points):
        before, after = (held_after(script, point.acknowledged + more) for more in (0, 1))
        allowed = {id: {before.held.get(id), after.held.get(id)} for id in {*before.held, *after.held}}
        try:
            wrong = checks.found(
                point.root, allowed, exists=before.exists, writable=number % 2 == 0, goes_on=number % 5 == 0
            )
        except BaseException as error:  # a panic of a library in Rust is no Exception
            wrong = [f"{type(error).__name__}: {error}"]
        shutil.rmtree(point.root, ignore_errors=True)
        if wrong:
            done = " ".join(map(str, script[: point.acknowledged])) or "nothing"
            under_way = "".join(map(str, script[point.acknowledged : point.acknowledged + 1])) or "nothing"
            findings.append(
                {"what": "; ".join(wrong), "where": f"{point.told}; acknowledged {done}; under way {under_way}"}
            )
    return findings


def _told(step: Step, root: Path) -> str:
    return str(step).replace(f"{root}/", "")


def _must_be_killed_or_done(end: End) -> None:
    if end.status not in (0, -signal.SIGKILL) or end.hung:
        raise RuntimeError(f"the script did not end well: {end}")
