"""Processes on one folder: readers that search while two writers take turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.crowds.folder import check_at_rest, fill
from campaign.crowds.model import Ledger
from campaign.crowds.opening import created

__all__ = ["ProcessCrowd"]

_DOCUMENTS = 24
_READERS = 2
_WRITERS = 2
_SEARCHES = 800
"""Of each reader in a trial."""


class ProcessCrowd:
    """A reader sees what any process has committed, by its next search; a second writer waits or is told."""

    name, unit, wanted, short, needs_server = "crowd-processes", "searches", 30_000, 1_600, False
    planted: ClassVar[Mapping[str, str]] = {
        "no-writer-lock": "a second process may write beside the first",
        "blind-reader": "a reader looks for new commits at every three hundredth search only",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        members = [_Member() for _ in range(_READERS + _WRITERS)]
        try:
            yield lambda trial: _trial(bench, members, trial)
        finally:
            for member in members:
                member.end()


class _Member:
    """A process of ``member_process``."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "campaign.crowds.member_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def begin(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"counted": 0, "found": [f"a process ended with {self._process.wait()}"]}
        result: dict[str, Any] = json.loads(line)
        return result

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _trial(bench: Bench, members: list[_Member], trial: int) -> Outcome:
    folder, seed, where = bench.folder / f"p{trial}", bench.draw(trial), f"seed {bench.seed}, trial {trial}"
    file = bench.folder / f"p{trial}.ledger"
    ledger = Ledger(_DOCUMENTS, file)
    with created(folder) as retriever:
        fill(retriever, ledger)
    common = {"location": str(folder), "ledger": str(file), "documents": _DOCUMENTS, "planted": bench.planted}
    readers, writers = members[:_READERS], members[_READERS:]
    for number, member in enumerate(writers):
        numbers = list(range(number, _DOCUMENTS, _WRITERS))
        member.begin({**common, "role": "write", "numbers": numbers, "seed": 10 * seed + number})
    for number, member in enumerate(readers):
        job = {"role": "search", "searches": _SEARCHES, "seed": 10 * seed + 5 + number}
        member.begin({**common, **job, "where": f"{where}, reader {number}"})
    results = [member.result() for member in readers]
    ledger.end()
    results += [member.result() for member in writers]
    found = [what for result in results for what in result["found"]]
    if not found:
        found = [what for what in check_at_rest(folder, ledger) if what]
    shutil.rmtree(folder, ignore_errors=True)
    file.unlink()
    counted = sum(result["counted"] for result in results)
    return Outcome(max(1, counted), tuple(Finding(what, where) for what in found[:5]))
