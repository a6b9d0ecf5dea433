"""Coverage-guided input for the parsers, by atheris; where it is not installed (it has wheels for Linux) nothing is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar

from campaign.attack import Attempt, Bench, Finding, Outcome

__all__ = ["INSTALLED", "Guided"]

INSTALLED = find_spec("atheris") is not None

_RUNS = 1_000
_PATIENCE = 300.0


class Guided:
    """A parser a trial, in turn; what a run learned of it goes on to its next one."""

    name = "fuzz-guided"
    unit = "inputs"
    wanted = 30_000
    short = 1_000
    needs_server = False
    planted: ClassVar = {"a parser with a bare KeyError": "the filter parser looks a word up without a guard"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        from campaign.fuzz.doors import DOORS, SEEDS

        names = list(DOORS)
        for number, name in enumerate(names):
            corpus = bench.folder / f"corpus-{number}"
            corpus.mkdir()
            (corpus / "seed").write_bytes(SEEDS[name])

        def attempt(trial: int) -> Outcome:
            number = trial % len(names)
            return _tried(names[number], bench, bench.draw(trial), str(bench.folder / f"corpus-{number}"))

        yield attempt


def _tried(name: str, bench: Bench, seed: int, corpus: str) -> Outcome:
    command = [
        sys.executable,
        "-m",
        "campaign.fuzz.guided_child",
        name,
        str(seed),
        str(_RUNS),
        bench.planted or "",
        corpus,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    where = f"{name}, seed {seed}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, env=environment, cwd=bench.folder, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(_RUNS, (Finding(f"{name}: no end after {_PATIENCE:g} s", where),))
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"what"')]
    if not found and done.returncode:
        return Outcome(_RUNS, (Finding(f"{name}: the process ended with {done.returncode}", done.stderr[-1_500:]),))
    return Outcome(_RUNS, tuple(Finding(one["what"], f"{where}, {one['where']}") for one in found[:1]))
