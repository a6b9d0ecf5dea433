"""A process that has imported everything and forks a child for each request, so that a trial costs no imports.

It is a process of its own as a fork copies locks and thread pools: here none has begun.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from campaign.seam.calls import is_known_here

__all__ = ["Forge", "Impossible", "forge"]

_WARM = (
    "faiss", "tantivy", "onnxruntime", "tokenizers", "filelock", "opensearchpy", "hybrid_search.api",
    "hybrid_search.retrieval.retriever", "hybrid_search.loading.load", "hybrid_search.opening",
    "hybrid_search.engines.embedded", "hybrid_search.engines.opensearch", "hybrid_search.towers.onnx.encoder",
)  # fmt: skip
_IMPORT = "import"
_ROOT = Path(__file__).resolve().parents[3]


class Impossible(RuntimeError):
    """This machine does not let us trace."""


class Forge:
    """Asks the process; made by :func:`forge`."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{_ROOT / 'tests'}{os.pathsep}{_ROOT}",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=_ROOT, text=True,
        )  # fmt: skip
        atexit.register(self.close)

    def ask(self, entry: str, **arguments: Any) -> Any:
        """Call ``module:function`` with JSON arguments in a fork of the process; returns its JSON result.

        :raises RuntimeError: if the fork ended otherwise, with what it told.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([entry, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that forks has ended with {self._process.poll()}")
        kind, value = json.loads(line)
        if kind == "error":
            raise RuntimeError(value)
        return value

    def warm(self, names: Sequence[str]) -> None:
        """Let the process import more modules, for the forks to come."""
        self.ask(_IMPORT, names=list(names))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait()


@lru_cache(maxsize=1)
def forge() -> Forge:
    """Return this process's forge.

    :raises Impossible: where nothing can be traced.
    """
    if sys.platform != "linux" or not is_known_here():
        raise Impossible(f"system calls are traced on Linux on x86-64 and AArch64 only, not on {sys.platform}")
    made = Forge()
    try:
        made.ask("campaign.seam.forge:can_trace")
    except RuntimeError as error:
        made.close()
        raise Impossible(f"ptrace or seccomp is forbidden here ({str(error).strip().splitlines()[-1]})") from error
    return made


def can_trace() -> int:
    """Trace a child that does next to nothing; returns the number of its steps."""
    import tempfile

    from campaign.seam.watching import watched

    class Counter:
        def before(self, step: object) -> int:
            return 0

        def after(self, step: object, result: int) -> int:
            return 0

    with tempfile.TemporaryDirectory() as folder:
        end = watched(lambda: os.mkdir(f"{folder}/made"), Counter(), Path(folder))
    if (end.status, end.steps) != (0, 1):
        raise OSError(f"a traced mkdir gave {end}")
    return end.steps


def _serve() -> None:
    for name in _WARM:
        importlib.import_module(name)
    for line in sys.stdin:
        entry, arguments = json.loads(line)
        if entry == _IMPORT:
            for name in arguments["names"]:
                with contextlib.suppress(Exception):  # a fork that needs it will say why
                    importlib.import_module(name)
            sys.stdout.write(json.dumps(["result", None]) + "\n")
            sys.stdout.flush()
            continue
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(told)
            _answer(entry, arguments, tell)
        os.close(tell)
        with os.fdopen(told) as pipe:
            answer = pipe.read()
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            answer = json.dumps(["error", f"the checking process ended by {name}"])
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _answer(entry: str, arguments: dict[str, Any], tell: int) -> None:
    status = 0
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what is printed must not be taken for an answer
        module, _, function = entry.partition(":")
        try:
            answer = ["result", getattr(importlib.import_module(module), function)(**arguments)]
        except Exception:
            answer = ["error", traceback.format_exc()]
        with os.fdopen(tell, "w") as pipe:
            pipe.write(json.dumps(answer))
    except BaseException:
        traceback.print_exc()
        status = 71
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve()
