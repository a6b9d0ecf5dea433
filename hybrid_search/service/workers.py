"""Several processes behind one socket: starts them, starts a dead one again, ends them.

Each opens the index to read; with ``writable``, the first one opens it to write, and gets the others' changes over a
socket of its own. They learn what to serve from their standard input, which also tells them when this process is gone.
Nothing here imports the web framework, which would take longer than all the rest before the first of them starts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from hybrid_search.errors import SearchIndexError, UsageError
from hybrid_search.second_stage import RERANK_DEPTH
from hybrid_search.service.core import own_threads
from hybrid_search.service.door import Shares
from hybrid_search.settings.service import ServiceOptions

__all__ = ["Task", "Workers"]

_LOG = logging.getLogger(__name__)
_CHECK_EVERY = 0.1
_TOO_SOON = 5.0
"""Seconds; a worker that dies sooner after its start is not started again."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker serves.

    :ivar rerank: a cross-encoder, by folder or name; empty for none.
    :ivar connection: how to reach a server, by name.
    :ivar fd: the listening socket.
    :ivar writer: the path of the writer's socket; empty if nobody writes.
    :ivar writes: whether this worker is the writer.
    :ivar shares: the file in which workers tell how many connections they have; empty for a single process.
    :ivar number: of this worker, from 0.
    """

    location: str
    options: ServiceOptions
    model: str = ""
    in_cluster: bool = False
    rerank: str = ""
    rerank_depth: int = RERANK_DEPTH
    connection: Mapping[str, Any] | None = None
    fd: int = -1
    writer: str = ""
    writes: bool = False
    shares: str = ""
    number: int = 0


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    task: Task
    began: float


class Workers:
    """The processes that serve an index.

    :param number: how many, at least one.
    """

    def __init__(self, task: Task, door: socket.socket, number: int) -> None:
        if sys.platform == "win32":
            raise UsageError(f"workers is {number}; on Windows a service is one process: give 1")
        options = task.options
        threads = options.threads or own_threads(task.location, number)
        self._task = msgspec.structs.replace(task, options=options.replace(threads=threads))
        self._door = door
        self._number = number
        self._ending = threading.Event()
        self._answering = False
        self._workers: list[_Worker] = []

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP is passed on.

        :param ready: called when all workers answer.
        :raises SearchIndexError: if a worker can't start, or dies as soon as it has started.
        """
        with tempfile.TemporaryDirectory(prefix="hybrid-search-") as folder:
            before = {
                one: signal.signal(one, self._passed_on) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            }
            try:
                self._start_all(Path(folder))
                self._answering = True
                ready()
                while not self._ending.wait(_CHECK_EVERY):
                    self._replace_dead(Path(folder))
            finally:
                self._end()
                for one, handler in before.items():
                    signal.signal(one, handler)

    def _start_all(self, folder: Path) -> None:
        writer = str(folder / "writer.sock") if self._task.options.writable else ""
        shares = folder / "shares"
        Shares.create(shares, self._number)
        for number in range(self._number):
            writes = bool(writer) and number == 0
            task = msgspec.structs.replace(
                self._task, fd=self._door.fileno(), writer=writer, writes=writes, shares=str(shares), number=number
            )
            self._workers.append(self._started(task, folder))
        for worker in self._workers:
            self._await(worker)

    def _started(self, task: Task, folder: Path) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-m", "hybrid_search.service.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._door.fileno()],
            env=_environment(folder),
            start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which passes it on
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.flush()
        return _Worker(process, task, time.monotonic())

    def _await(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        if worker.process.stdout.readline() != b"ready\n" and not self._ending.is_set():
            code = worker.process.wait()
            raise SearchIndexError(f"a worker ended with {code} before it could answer; its message is above")

    def _replace_dead(self, folder: Path) -> None:
        for position, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None or self._ending.is_set():
                continue
            if time.monotonic() - worker.began < _TOO_SOON:
                raise SearchIndexError(f"a worker ended with {code} as soon as it had started; its message is above")
            _LOG.error("a worker ended with %s; another one is started", code)
            _close_pipes(worker)
            self._workers[position] = self._started(worker.task, folder)
            self._await(self._workers[position])

    def _passed_on(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal to end: :meth:`_end` tells the workers, once, as a second one ends them at once."""
        is_to_end = number in (signal.SIGTERM, signal.SIGINT)
        is_first = is_to_end and self._answering and not self._ending.is_set()
        if is_to_end:
            self._ending.set()
        if not is_first:
            _tell(self._workers, signal.SIGTERM if is_to_end else number)

    def _end(self) -> None:
        # The workers have copies. This one would go on taking connections that nobody answers, when theirs are closed.
        self._door.close()
        # The writer last: until then the others pass changes on to it.
        for writes in (False, True):
            ending = [worker for worker in self._workers if worker.task.writes == writes]
            _tell(ending, signal.SIGTERM)
            until = time.monotonic() + self._task.options.drain + self._task.options.grace + 10
            for worker in ending:
                try:
                    worker.process.wait(max(0.1, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    worker.process.kill()
                    worker.process.wait()
                _close_pipes(worker)


def _tell(workers: Iterable[_Worker], number: int) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(number)


def _close_pipes(worker: _Worker) -> None:
    for pipe in (worker.process.stdin, worker.process.stdout):
        if pipe is not None:
            pipe.close()


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
