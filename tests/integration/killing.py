"""The loader in a process of its own, which dies of SIGKILL at a chosen bulk request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from conftest import ROOT, Home
from node.faulty import Fault

__all__ = ["Loader"]


class Loader:
    """``hybrid-search load`` of one file into one index, as often as it takes."""

    def __init__(self, home: Home, file: Path, location: str, folder: Path) -> None:
        self.dead = folder / "dead.jsonl"
        self._out, self._err = folder / "out.json", folder / "err.txt"
        self._command = [
            sys.executable, "-m", "hybrid_search", "load", "jsonl", "--path", str(file), "--model", str(home.model),
            "--to", location, "--dead-letter", str(self.dead), "--format", "json", "--threads", "1",
        ]  # fmt: skip
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the process, which works in the folder."""
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(self._folder)}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*self._command, *options], stdout=out, stderr=err, cwd=self._folder, env=environment
            )

    @property
    def report(self) -> Any:
        """What the last run printed."""
        return json.loads(self._out.read_text())

    @property
    def said(self) -> str:
        """What the last run had to tell people."""
        return self._err.read_text()

    def wait(self) -> int:
        """Wait for its end; returns the exit code, -9 when it was killed."""
        assert self._process is not None
        return self._process.wait(120)

    def run(self, *options: str) -> int:
        """Start it and wait for its end."""
        self.start(*options)
        return self.wait()

    def killed_at(self, number: int, fault: Fault | None = None) -> Iterator[Fault | None]:
        """Kill the process when its ``number``-th bulk request has arrived; that one is then treated as said."""
        yield from repeat(None, number - 1)
        assert self._process is not None
        self._process.kill()
        yield fault
