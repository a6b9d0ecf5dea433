"""A crowd of threads: what each one does, what went wrong, and that all of them end."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from campaign.attack import Finding

__all__ = ["SWITCH", "Crowd", "switching_fast"]

SWITCH = 1e-6
_PATIENCE = 90.0
"""Seconds; the machine may have other work, and a server takes its time to make an index."""
_MOST_FINDINGS = 5


@contextmanager
def switching_fast() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Crowd:
    """Threads that go on until a number of searches are judged, or something is found.

    :param where: what makes the findings again.
    :param wanted: searches.
    """

    def __init__(self, where: str, wanted: int) -> None:
        self._where = where
        self._wanted = wanted
        self._threads: list[threading.Thread] = []
        self._counts: list[list[int]] = []
        self._found: list[Finding] = []
        self._go = threading.Event()
        self.closing: type[Exception] | None = None
        """Once set: the error by which the product may tell that it is closed."""

    @property
    def counted(self) -> int:
        """Searches judged so far."""
        return sum(count[0] for count in self._counts)

    @property
    def is_done(self) -> bool:
        """Whether enough was searched, or something was found."""
        return bool(self._found) or self.counted >= self._wanted

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What went wrong."""
        return tuple(self._found[:_MOST_FINDINGS])

    def found(self, what: str) -> None:
        """Note what went wrong."""
        if what:
            self._found.append(Finding(what, f"{self._where}, {threading.current_thread().name}"))

    def search(self, name: str, step: Callable[[], tuple[int, str]]) -> None:
        """Add a thread that searches until the product is closed."""
        count = self._counter()

        def work() -> None:
            while not self._found:
                judged, wrong = step()
                count[0] += judged
                self.found(wrong)

        self._add(name, work)

    def write(self, name: str, step: Callable[[], str], every: int, *, beside: bool = False) -> None:
        """Add a thread that writes once for so many searches of all.

        :param beside: not through what is closed: it ends with the searches.
        """
        self._counter()

        def work() -> None:
            due = 0
            while not self._found and not (beside and self.closing):
                if self.counted < due and not self.closing:
                    time.sleep(0.001)
                    continue
                due = self.counted + every
                self.found(step())

        self._add(name, work)

    def tasks(self, name: str, work: Callable[[Callable[[int, str], None]], Coroutine[Any, Any, None]]) -> None:
        """Add a thread with an event loop; ``work`` is given what to tell each step's result."""
        count = self._counter()

        def told(judged: int, wrong: str) -> None:
            count[0] += judged
            self.found(wrong)

        self._add(name, lambda: asyncio.run(work(told)))

    def _counter(self) -> list[int]:
        self._counts.append([0])
        return self._counts[-1]

    def _add(self, name: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            self._go.wait()
            try:
                work()
            except BaseException as error:
                if self.closing is None or not isinstance(error, self.closing):
                    self.found(f"{type(error).__name__}: {error} (at {_place(error)})")

        self._threads.append(threading.Thread(target=guarded, name=name, daemon=True))

    def run(self, close: Callable[[], None], closed: type[Exception]) -> None:
        """Let all of them go; when enough is done call ``close`` beside them, after which each must end."""
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + _PATIENCE
        self._go.set()
        while not self.is_done and time.monotonic() < deadline and any(thread.is_alive() for thread in self._threads):
            time.sleep(0.002)
        if not self.is_done:
            self.found(f"only {self.counted} of {self._wanted} searches ended within {_PATIENCE:g} s")
        self.closing = closed
        closer = threading.Thread(target=self._closed, args=(close,), daemon=True)
        closer.start()
        for thread in [closer, *self._threads]:
            thread.join(_PATIENCE)
            if thread.is_alive():
                stuck = [one for one in [closer, *self._threads] if one.is_alive()]
                self.found(f"these hang after close(): {'; '.join(f'{one.name}: {_stack(one)}' for one in stuck)}")
                return

    def _closed(self, close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException as error:
            self.found(f"close() raised {type(error).__name__}: {error} (at {_place(error)})")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames[-4:]))


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "?"
    frames = traceback.extract_stack(frame)[-8:]
    return " < ".join(f"{one.filename.rsplit('/', 1)[-1]}:{one.lineno}" for one in reversed(frames))
