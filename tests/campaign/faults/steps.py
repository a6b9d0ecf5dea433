"""A trial: a script in a child whose disk fails at a step, or which has little memory; then its index is opened."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.faults.planted import planted
from campaign.faults.surviving import Fates, carry_on, may_hold
from campaign.kills.checks import Checks
from campaign.kills.scripts import Operation, made_script
from campaign.losses.recording import Recording
from campaign.losses.states import built, lost
from campaign.seam.folders import quick_folder
from campaign.seam.watching import End, Step, watched

__all__ = ["failed"]

_TAKES_ROOM = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate", "mkdir", "mkdirat",
               "openat", "open", "creat", "sendfile", "copy_file_range")  # fmt: skip
_IN_AND_OUT = (*_TAKES_ROOM, "fsync", "fdatasync")
_KINDS = {
    "full": (errno.ENOSPC, _TAKES_ROOM),
    "over quota": (errno.EDQUOT, _TAKES_ROOM),
    "broken": (errno.EIO, _IN_AND_OUT),
    "read-only": (errno.EROFS, ()),
    "not forcing": (errno.EIO, ("fsync", "fdatasync")),
}
"""The error, and the calls that get it; all of them where there are none."""

_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "allocate", "memory", "can't start new thread", "Resource temporarily")
_SPARE = 400 << 20
_STATES = 3


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: str
    at: int
    lasting: bool

    def __str__(self) -> str:
        return f"the disk is {self.kind} at step {self.at}{' and from then on' if self.lasting else ' alone'}"


class _Failing:
    """Fails steps, and records all others."""

    def __init__(self, recording: Recording, fault: _Fault) -> None:
        self._recording = recording
        self._fault = fault
        self.first: Step | None = None

    def before(self, step: Step) -> int:
        error, calls = _KINDS[self._fault.kind]
        begun = self.first is not None or step.number >= self._fault.at
        if begun and (not calls or step.name in calls) and (self.first is None or self._fault.lasting):
            self.first = self.first or step
            return error
        return self._recording.before(step)

    def after(self, step: Step, result: int) -> int:
        return self._recording.after(step, result)


def failed(
    *, seed: int, part: int, faults: int, memory: int, model: str, folder: str, fault: str | None
) -> dict[str, Any]:
    """Carry out a trial in a fork of the forge; returns how many faults were tried and what was found.

    :param faults: how many runs with a disk that fails.
    :param memory: how many with little memory.
    """
    script = made_script(seed)
    drawn = random.Random(seed * 7919 + part)
    with quick_folder(Path(folder)) as place:
        trial = _Trial(script, place, Path(model), fault)
        steps = trial.steps()
        for _ in range(faults):
            trial.with_fault(
                _Fault(drawn.choice(list(_KINDS)), drawn.randrange(steps), lasting=drawn.random() < 0.7), drawn
            )
        for _ in range(memory):
            trial.with_memory(drawn.randrange(_SPARE))
        os.mkdir(place / "undisturbed")
        logging.disable()  # that something could not be written is what is wanted here
        findings = trial.checked(Checks(Path(model), place / "undisturbed"))
    return {"counted": trial.count, "findings": findings}


class _Trial:
    def __init__(self, script: list[Operation], place: Path, model: Path, fault: str | None) -> None:
        self._script, self._place, self._model, self._fault = script, place, model, fault
        self._left: list[tuple[Path, list[int], str]] = []
        self._findings: list[dict[str, str]] = []
        self.count = 0

    def _work(self, root: Path, fates: Fates, limit: int | None = None) -> Callable[[], None]:
        def work() -> None:
            logging.disable()
            with planted(self._fault, side="child"):
                if limit is not None:
                    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
                carry_on(self._script, root / "index", self._model, fates)

        return work

    def _root(self) -> Path:
        self.count += 1
        root = self._place / f"run-{self.count}"
        root.mkdir()
        return root

    def steps(self) -> int:
        """How many steps the script has where nothing fails."""
        root = self._place / "sound"
        root.mkdir()
        end = watched(self._work(root, Fates()), Recording(root, lambda: 0), root)
        shutil.rmtree(root)
        if end.status:
            raise RuntimeError(f"the script did not end well: {end}")
        return end.steps

    def with_fault(self, fault: _Fault, drawn: random.Random) -> None:
        """Run the script on a disk that fails."""
        root, fates = self._root(), Fates()
        recording = Recording(root, lambda: 0)
        failing = _Failing(recording, fault)
        end = watched(self._work(root, fates), failing, root)
        told = f"{fault} ({str(failing.first).replace(f'{root}/', '')})"
        self._take(root, end, fates, told)
        if failing.first is None or "sync" not in failing.first.name or end.status:
            return
        for number in range(_STATES):  # what could not be forced to the disk may not be there after all
            target = self._place / f"lost-{self.count}-{number}"
            loss = lost(recording.events, len(recording.events), 0, drawn)
            built(loss.events, target)
            self._left.append((target, fates.of(self._script), f"{told}; {loss.told}"))

    def with_memory(self, limit: int) -> None:
        """Run the script with so much memory beyond what a process begins with."""
        root, fates = self._root(), Fates()
        end = watched(self._work(root, fates, limit), _Nothing(), root)
        by_loader = end.status == 127  # the system's own, which had no memory for a library
        if end.status < 0 or by_loader or any(word in end.told for word in _OUT_OF_MEMORY):
            end = End(0, "", end.steps)
        self._take(root, end, fates, f"{limit >> 20} MiB of memory are left")

    def _take(self, root: Path, end: End, fates: Fates, told: str) -> None:
        if end.status or end.hung:
            what = (
                "it hung" if end.hung else end.told.strip().splitlines()[-1] if end.told else f"ended by {end.status}"
            )
            self._findings.append(
                {"what": f"not an error of the product's: {what}", "where": f"{told}\n{end.told[-3000:]}"}
            )
        self._left.append((root, fates.of(self._script), told))

    def checked(self, checks: Checks) -> list[dict[str, str]]:
        """Open everything that is left; returns all that was found."""
        for number, (root, fates, told) in enumerate(self._left):
            exists, held = may_hold(self._script, fates)
            try:
                wrong = checks.found(root, held, exists=exists, writable=number % 2 == 0, goes_on=number % 5 == 0)
            except BaseException as error:  # a panic of a library in Rust is no Exception
                wrong = [f"{type(error).__name__}: {error}"]
            shutil.rmtree(root, ignore_errors=True)
            if wrong:
                did = " ".join(
                    f"{operation}{('…', '', '!')[fate]}" for operation, fate in zip(self._script, fates, strict=True)
                )
                self._findings.append({"what": "; ".join(wrong), "where": f"{told}; ! failed, … not tried: {did}"})
        return self._findings


class _Nothing:
    def before(self, step: Step) -> int:
        return 0

    def after(self, step: Step, result: int) -> int:
        return 0
