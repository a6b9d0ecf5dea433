"""Run something in a child process and watch each step of it that changes a folder or sends to a server."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from campaign.seam.calls import BY_NUMBER, Shape
from campaign.seam.filter import stop_at_changes
from campaign.seam.tracing import (
    ALL_CHILDREN,
    EVENT_OF_SECCOMP,
    At,
    continue_to_exit,
    go_on,
    new_process,
    seize,
    skip_with,
    stopped_at,
    text_at,
)

__all__ = ["KILL", "End", "Step", "Watcher", "watched"]

KILL = -1
"""What a watcher says to end the whole process tree, by SIGKILL, here and now."""

_NO_ERROR = 0
_AT_FOLDER = 2**64 - 100
_EVENTS_WITH_A_NEW_ONE = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Step:
    """A call that changes the folder or sends.

    :ivar number: counted from 0.
    :ivar path: of the file, at the time; ``socket:[…]`` for one that sends.
    :ivar other: the old name of what is renamed or linked.
    :ivar arguments: as the system got them.
    """

    number: int
    name: str
    path: str
    other: str
    arguments: tuple[int, ...]
    tid: int

    @property
    def sends(self) -> bool:
        """Whether it writes to a socket."""
        return self.path.startswith("socket:")

    def __str__(self) -> str:
        return f"step {self.number}, {self.name} {self.path}{f' from {self.other}' if self.other else ''}"


class Watcher(Protocol):
    """Is told of every step, one at a time: no two of a child's threads are in one at once."""

    def before(self, step: Step) -> int:
        """Say what is to become of a step: 0 for nothing, an ``errno`` for it to fail, :data:`KILL`."""
        ...

    def after(self, step: Step, result: int) -> int:
        """Be told what a step gave (negative for an error); 0 or :data:`KILL`."""
        ...


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended.

    :ivar status: its exit code, or minus the signal.
    :ivar told: the traceback of the exception that ended it; empty without one.
    :ivar steps: how many there were.
    :ivar hung: it had to be ended as its time was over.
    """

    status: int
    told: str
    steps: int
    hung: bool = False


def watched(work: Callable[[], None], watcher: Watcher, inside: Path, *, sends: bool = False, limit: float = 60) -> End:
    """Fork a child that does ``work``, and watch it until it and all that it started have ended.

    This process must have one thread, no other child, and have begun nothing whose locks a fork would copy.

    :param inside: the folder whose changes are steps; others are not.
    :param sends: whether sending through a socket is a step too.
    :param limit: seconds after which the child is killed.
    """
    told, tell = os.pipe()
    ready, go = os.pipe()
    pid = os.fork()
    if not pid:
        _be_the_child(work, ready, tell, (told, go))
    os.close(tell)
    seize(pid)
    os.write(go, b"1")
    tracer = _Tracer(pid, watcher, os.path.realpath(inside), sends)
    with _limited(limit):
        tracer.run()
    with os.fdopen(told, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    os.close(ready)
    os.close(go)
    return End(tracer.status, text, tracer.steps, tracer.hung)


def _be_the_child(work: Callable[[], None], ready: int, tell: int, others: tuple[int, ...]) -> None:
    status = 0
    try:
        for descriptor in others:
            os.close(descriptor)
        os.read(ready, 1)
        os.close(ready)
        stop_at_changes()
        work()
    except BaseException:  # whatever it is, the watcher is told
        status = 70
        os.write(tell, traceback.format_exc().encode()[-60_000:])
    finally:
        os._exit(status)


class _TimeIsOver(Exception):
    pass


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Tracer:
    def __init__(self, pid: int, watcher: Watcher, inside: str, sends: bool) -> None:
        self._pid = pid
        self._watcher = watcher
        self._inside = inside
        self._sends = sends
        self._alive = {pid}
        self.status = 0
        self.steps = 0
        self.hung = False

    def run(self) -> None:
        """Until nobody is left."""
        while True:
            try:
                tid, status = os.waitpid(-1, ALL_CHILDREN)
                self._take(tid, status)
            except ChildProcessError:
                return
            except ProcessLookupError:  # killed while it was stopped; its end comes next
                continue
            except _TimeIsOver:
                self.hung = True
                self._kill()

    def _take(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._alive.discard(tid)
            if tid == self._pid:
                self.status = os.waitstatus_to_exitcode(status)
            return
        self._alive.add(tid)
        sent, event = os.WSTOPSIG(status), status >> 16
        if event == EVENT_OF_SECCOMP:
            self._step(tid)
        elif event:
            if event in _EVENTS_WITH_A_NEW_ONE:
                self._alive.add(new_process(tid))
            go_on(tid)
        else:
            go_on(tid, 0 if sent == signal.SIGTRAP | 0x80 else sent)

    def _step(self, tid: int) -> None:
        step = self._described(tid, stopped_at(tid))
        if step is None:
            go_on(tid)
            return
        self.steps += 1
        verdict = self._watcher.before(step)
        if verdict == KILL:
            self._kill()
        elif verdict:
            skip_with(tid, verdict)
            go_on(tid)
        else:
            continue_to_exit(tid)
            result = self._result(tid)
            if result is not None and self._watcher.after(step, result) == KILL:
                self._kill()
            elif result is not None:
                go_on(tid)

    def _result(self, tid: int) -> int | None:
        """Wait until the call is done: nobody else's step begins before. None if the thread ended in it."""
        _, status = os.waitpid(tid, ALL_CHILDREN)
        if os.WIFSTOPPED(status):
            at = stopped_at(tid)
            return at.result if at.is_exit else _NO_ERROR
        self._take(tid, status)
        return None

    def _kill(self) -> None:
        for tid in self._alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(tid, signal.SIGKILL)

    def _described(self, tid: int, at: At) -> Step | None:
        shape = BY_NUMBER[at.number]
        try:
            path, other = self._paths(tid, shape, at.arguments)
        except OSError:
            return None
        is_ours = any(name == self._inside or name.startswith(f"{self._inside}/") for name in (path, other))
        if is_ours or (self._sends and path.startswith("socket:")):
            return Step(self.steps, shape.name, path, other, at.arguments, tid)
        return None

    def _paths(self, tid: int, shape: Shape, arguments: tuple[int, ...]) -> tuple[str, str]:
        if shape.file >= 0:
            return os.readlink(f"/proc/{tid}/fd/{arguments[shape.file]}"), ""
        found = []
        for folder, place in shape.paths:
            path = text_at(tid, arguments[place])
            if not path.startswith("/"):
                begin = arguments[folder] if folder >= 0 else _AT_FOLDER
                held = "cwd" if begin & 0xFFFFFFFF == _AT_FOLDER & 0xFFFFFFFF else f"fd/{begin & 0xFFFFFFFF}"
                path = os.path.join(os.readlink(f"/proc/{tid}/{held}"), path)
            found.append(os.path.normpath(path))
        return found[0], found[1] if len(found) > 1 else ""
