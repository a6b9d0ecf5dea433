"""An attack whose trials run in a process beside: what kills it, or holds it for good, is a finding like any other."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from campaign.attack import Attempt, Bench, Finding, Outcome

__all__ = ["Apart"]

_PATIENCE = 120.0
"""Seconds for a trial of many inputs, each of which has its own deadline."""


class Apart:
    """The attack of a class, carried out in a child process that is started anew when it dies.

    :param place: ``MODULE:CLASS``, made without arguments.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        module, _, name = place.partition(":")
        inner = getattr(import_module(module), name)
        self.name: str = inner.name
        self.unit: str = inner.unit
        self.wanted: int = inner.wanted
        self.short: int = inner.short
        self.needs_server: bool = inner.needs_server
        self.planted: Mapping[str, str] = inner.planted

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        """Start the child; it prepares the attack."""
        child = _Child(self._place, bench)
        try:
            yield child.attempt
        finally:
            child.stop()


class _Child:
    def __init__(self, place: str, bench: Bench) -> None:
        self._told = json.dumps({"place": place, **asdict(bench), "folder": str(bench.folder)})
        self._log = bench.folder / "child.log"
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-X", "faulthandler", "-m", "campaign.fuzz.apart", self._told]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self._log.open("w") as log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )

    def attempt(self, trial: int) -> Outcome:
        """Have a trial done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{trial}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        line = self._process.stdout.readline() if ready else ""
        if line:
            told = json.loads(line)
            return Outcome(told["counted"], tuple(Finding(**one) for one in told["findings"]))
        self._process.kill()
        status = self._process.wait()
        what = f"died with status {status}" if ready else f"gave no answer in {_PATIENCE:g} s"
        tail = self._log.read_text(errors="replace")[-1_500:]
        self._process = self._started()
        return Outcome(1, (Finding(f"the process {what}", f"trial {trial}; {tail}"),))

    def stop(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def main() -> None:
    """Be the child: a line in is a trial's number, a line out is what came of it."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    module, _, name = told.pop("place").partition(":")
    attack = getattr(import_module(module), name)()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the product prints must not stand among the answers
    with attack.prepared(Bench(Path(told.pop("folder")), **told)) as attempt:
        for line in sys.stdin:
            answers.write(json.dumps(asdict(attempt(int(line)))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
