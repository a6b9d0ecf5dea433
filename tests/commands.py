"""Runs the command line in a process of its own, forked from one that has imported what the commands need.

Importing torch and gensim takes four processor seconds, more than most of these commands themselves. What a fresh
interpreter does (which modules a command imports, its hash seed) is tested where a test starts one.
"""

from __future__ import annotations

import atexit
import functools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

import hybrid_search
from hybrid_search.telemetry import switch_off

__all__ = ["Ran", "run_command"]


@dataclass(frozen=True)
class Ran:
    """What a command gave: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def run_command(
    *arguments: object, cwd: Path, environment: Mapping[str, str], stdin: str = "", timeout: float = 300
) -> Ran:
    """Run ``hybrid-search`` with the arguments in a folder, with these variables and no others."""
    with tempfile.TemporaryDirectory(prefix="command-") as place:
        streams = [str(Path(place, name)) for name in ("in", "out", "err")]
        Path(streams[0]).write_text(stdin)
        given = ([*map(str, arguments)], str(cwd), dict(environment), streams, hybrid_search.__file__)
        process = _prepared().Process(target=_run, args=given)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{arguments} ran for more than {timeout} s")
        out, err = (Path(name).read_text() if Path(name).exists() else "" for name in streams[1:])
        return Ran(process.exitcode, out, err)


@functools.cache
def _prepared() -> ForkServerContext:
    """Start the process that imports everything, once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imported"])
    tests = Path(__file__).parent
    # Libraries read the number of threads once, when they are imported.
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        multiprocessing.forkserver.ensure_running()
    return context


def _run(arguments: list[str], folder: str, environment: Mapping[str, str], streams: list[str], tested: str) -> None:
    """Be the command: its folder, variables, streams and arguments."""
    assert hybrid_search.__file__ == tested, f"{hybrid_search.__file__} was imported instead of {tested}"
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    switch_off()
    for number, (name, flags) in enumerate(zip(streams, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        given = os.open(name, flags, 0o600)
        os.dup2(given, number)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", errors=errors, closefd=False)
        for number, mode, errors in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
    )
    sys.argv = ["hybrid-search", *arguments]
    warnings.simplefilter("error", ResourceWarning)
    try:
        runpy.run_module("hybrid_search", run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
