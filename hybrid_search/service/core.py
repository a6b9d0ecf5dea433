"""What all requests share: the open index, the threads that search it, keys and figures."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hybrid_search.errors import HybridSearchError, UsageError
from hybrid_search.opening import is_on_server
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.service.keys import ApiKeys
from hybrid_search.service.problems import TimedOut
from hybrid_search.settings.service import ServiceOptions

__all__ = ["Service", "own_threads"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_THREADS_FOR_A_SERVER = 32


def own_threads(location: str, workers: int = 1) -> int:
    """Return how many threads a process searches with, where nobody has said so.

    Threads that search a folder take turns at Python's lock, and more of them than cores make the slowest answers
    slower, none faster (``python -m benchmarks.service`` has both).

    :param workers: processes that share the cores.
    """
    if is_on_server(location):
        return _THREADS_FOR_A_SERVER
    return max(2, (os.cpu_count() or 1) // workers)


@dataclass(slots=True, eq=False)
class _Held:
    """A retriever, and the number of requests that use it; a replaced one is closed after the last."""

    retriever: Retriever
    place: tuple[int, int] | None
    writes: bool
    users: int = 0
    left: bool = False


class Service:
    """The index that requests are answered from, replaced as a whole while they run. Thread-safe.

    :param location: a folder, or an index or alias on a server; an alias is followed.
    :param opened: opens the retriever, again for each :meth:`reload`.
    :param writes: whether it is opened to write.
    :ivar draining: whether the service is ending: it answers, and asks clients to go.
    """

    def __init__(
        self, location: str, opened: Callable[[], Retriever], options: ServiceOptions, *, writes: bool
    ) -> None:
        self.location = location
        self.options = options
        self.keys = ApiKeys.read(options.keys)
        self.draining = False
        self._opened = opened
        self._writes = writes
        self._held: _Held | None = None
        self._counting = threading.Lock()
        self._reloading = threading.Lock()
        threads = options.threads or own_threads(location)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="search")
        # Writers have threads of their own, so that commits, which wait for the disk, keep no search from running.
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="write")

    @property
    def is_open(self) -> bool:
        """Whether there is an index to answer from."""
        return self._held is not None

    def open(self) -> None:
        """Open the index and load its towers, unless it is open.

        :raises HybridSearchError: as :func:`hybrid_search.open`.
        """
        with self._reloading:
            if self._held is None:
                self._held = self._newly_held()

    def close(self) -> None:
        """Close the index when the running calls have ended."""
        self._threads.shutdown(cancel_futures=True)
        self._writers.shutdown()
        with self._reloading:
            held, self._held = self._held, None
        if held is not None:
            self._leave(held)

    def reload(self) -> bool:
        """Read the keys again, and open the index anew: what the folder's name or the alias stands for now.

        Running requests end with the index that they began with. A failure is logged, and what was there stays.

        :return: whether the index is another one, or newly opened.
        """
        with self._reloading:
            try:
                self.keys = ApiKeys.read(self.options.keys)
                return self._replaced()
            except HybridSearchError as error:
                _LOG.error("going on as before: %s", error)
                return False

    def _replaced(self) -> bool:
        before = self._held
        if before is not None and before.place is None:
            return before.retriever.refresh()
        if before is not None and before.writes and before.place == self._place():
            return False  # this process is the one that writes there; opened again, it would wait for itself
        held = self._newly_held()
        with self._counting:
            self._held = held
        if before is not None:
            self._leave(before)
        _LOG.info("opened %s anew", self.location)
        return True

    async def read(self, ask: Callable[[Retriever], T]) -> T:
        """Call a function with the retriever, in a thread.

        :raises TimedOut: if it takes longer than the time limit; if it still waited for a thread, it is never called.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.options.time_limit):
                return await loop.run_in_executor(self._threads, copy_context().run, self._called, ask)
        except TimeoutError:
            raise TimedOut(f"no answer within {self.options.time_limit:g} s; ask for less, or later") from None

    async def write(self, change: Callable[[Retriever], T]) -> T:
        """Call a function that changes the index, in a thread, however long it takes."""
        context = copy_context()  # the request's span
        return await asyncio.get_running_loop().run_in_executor(self._writers, context.run, self._called, change)

    def _called(self, ask: Callable[[Retriever], T]) -> T:
        with self._lent() as held:
            return ask(held.retriever)

    @contextmanager
    def _lent(self) -> Iterator[_Held]:
        with self._counting:
            held = self._held
            if held is None:
                raise UsageError("the service has no open index")
            held.users += 1
        try:
            yield held
        finally:
            with self._counting:
                held.users -= 1
                last = held.left and not held.users
            if last:
                held.retriever.close()

    def _leave(self, held: _Held) -> None:
        with self._counting:
            held.left = True
            unused = not held.users
        if unused:
            held.retriever.close()

    def _newly_held(self) -> _Held:
        place = self._place()
        retriever = self._opened()
        try:
            # Loads what is loaded at the first search, so that no client waits for it.
            retriever.search("warm up", 1, mode=modes_of(retriever)[0])
        except BaseException:
            retriever.close()
            raise
        return _Held(retriever, place, self._writes)

    def _place(self) -> tuple[int, int] | None:
        """Return what identifies the folder that the location's name stands for now; None for a server."""
        if is_on_server(self.location):
            return None
        try:
            found = Path(self.location).stat()
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino
