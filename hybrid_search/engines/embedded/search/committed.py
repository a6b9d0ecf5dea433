"""The committed state that a search sees: nothing changes meanwhile, and others' commits are loaded before it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from hybrid_search.engines.embedded.search.caches import Caches
from hybrid_search.engines.embedded.search.filter_rows import FilterCache, RowFilter
from hybrid_search.engines.embedded.store.locks import WriterLock
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.errors import StorageError, UsageError
from hybrid_search.filters import Filter
from hybrid_search.settings.index import IndexSettings

__all__ = ["CommittedState", "SharedLock"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_POLL = 0.005
"""Seconds between two attempts of a search that waits for a commit."""

_PATIENCE = 30.0
_REPAIR_EVERY = 0.5


class CommittedState:
    """What searches see of a store and its caches. Thread-safe.

    :param writes: whether this engine is the writer: the caches then change by its own commits only.
    :ivar settings: the index's, without what is not committed.
    :ivar generation: of the store.
    """

    def __init__(self, store: Store, caches: Caches, *, writes: bool) -> None:
        self.settings: IndexSettings = store.settings()
        self.generation = store.state().generation
        self._store = store
        self._caches = caches
        self._writes = writes
        self._note_reached()
        self._filters = FilterCache(store)
        self._sharing = SharedLock()
        self._refreshing = threading.Lock()
        self._next_repair = 0.0
        self._given_up = 0
        self._process = os.getpid()
        self._closed = False
        self._is_lost = False

    def check_open(self) -> None:
        """Refuse what is done with a closed index.

        :raises UsageError: if it is closed, or was opened before this process was forked.
        :raises StorageError: if another index has taken its place, and it can't be read on.
        """
        folder = self._store.layout.folder
        if self._closed:
            raise UsageError(f"{folder}: the index is closed; open it again")
        if os.getpid() != self._process:
            raise UsageError(f"{folder}: opened before this process was forked; open it again in this one")
        if self._is_lost:
            raise StorageError(f"{folder}: the index that was opened is not there any more; open it again")

    def close(self) -> bool:
        """Refuse everything from now on; return False if that was so before. Requires :meth:`alone`."""
        was_open, self._closed = not self._closed, True
        return was_open

    def alone(self) -> AbstractContextManager[None]:
        """Keep searches out while something changes."""
        return self._sharing.alone()

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Keep the caches from changing, at the newest generation; yields that generation."""
        self.check_open()
        self._refresh()
        with self._sharing.shared():
            self.check_open()
            yield self.generation

    def answered(self, answer: Callable[[int], T]) -> T:
        """Search one committed state; repeat the search if another process's commit was half done meanwhile.

        :param answer: searches, and is given the generation.
        """
        began = time.monotonic()
        while True:
            with self.held() as generation:
                found = answer(generation)
                # This engine's own commit excludes searches; if it failed halfway, only the next one continues it.
                if self._writes or not self._hides(began):
                    return found
            while self._hides(began):
                time.sleep(_POLL)
                self._refresh()

    def passing(self, filter: Filter | None, generation: int) -> RowFilter | None:
        """Return the rows that pass a filter; None without one.

        :raises FilterError: if the filter does not fit the index's fields.
        """
        return None if filter is None else self._filters.resolve(filter, generation, self.settings.fields)

    def follow(self, settings: IndexSettings) -> None:
        """Take in this engine's own commit. Requires :meth:`alone`.

        :param settings: as committed.
        :raises StorageError: if a cache can't be written; the next call continues.
        """
        newest = self._store.state().generation
        if newest == self.generation and self._reached >= newest:
            return
        self.settings, self.generation = settings, newest
        self._filters.forget()
        try:
            self._caches.follow()
        finally:
            self._note_reached()

    def _note_reached(self) -> None:
        """Note how far the caches have come; they change in these methods only, and each search asks."""
        self._reached, self._is_settled = self._caches.generation, self._caches.is_settled

    def _refresh(self) -> None:
        """Load another process's commits; if that process died between store and caches, complete the caches."""
        if self._writes:  # this engine's own commit is running, or failed and the next one completes it
            return
        newest = self._store.state().generation
        if newest == self.generation and self._reached >= newest and self._is_settled:
            return
        with self._refreshing, self._sharing.alone():
            self.check_open()
            try:
                self._load(newest)
            finally:
                self._note_reached()
                self._check_there()
            if self.generation != newest:
                self.settings = self._store.settings()
                self.generation = newest

    def _check_there(self) -> None:
        """Refuse all searches from now on if the caches that were loaded may be another index's, put in the place."""
        self._is_lost = self._is_lost or self._store.database.is_replaced()
        self.check_open()

    def _load(self, newest: int) -> None:
        self._check_there()
        self._caches.reload()
        self._filters.forget()
        is_complete = self._caches.generation >= newest and self._caches.is_settled
        if is_complete or time.monotonic() <= self._next_repair:
            return
        self._next_repair = time.monotonic() + _REPAIR_EVERY
        layout = self._store.layout
        if (lock := WriterLock.for_checking(layout)) is not None:
            try:
                self._caches.follow()
            except StorageError as error:
                _LOG.warning("%s: what a writer left undone can't be done now: %s", layout.folder, error)
            finally:
                lock.release()

    def _hides(self, since: float) -> bool:
        """Return whether a search that has just ended may have missed a document and must be repeated.

        During another process's commit the store has new rows that the caches lack, and lacks those that they replace.
        After some seconds a slow commit is no longer waited for, which is logged. Not locked: the number that is kept
        only grows, and a thread that overwrites a larger one with its own waits once more.

        :param since: when the search began, by ``time.monotonic``.
        """
        reached, newest = self._reached, self._store.state().generation
        if newest <= max(reached, self._given_up) or not self._store.lost_since(reached):
            return False
        if time.monotonic() - since > _PATIENCE:
            self._given_up = newest
            _LOG.warning("%s: a commit takes long; what it replaces is missing until then", self._store.layout.folder)
            return False
        return True


class SharedLock:
    """A lock with many sharers or one exclusive holder, who take turns: neither kind keeps the other out for long.

    A thread that waits for exclusiveness precedes new sharers; when it ends, all sharers that waited precede the next
    one ("phase-fair", Brandenburg and Anderson, "Spin-based reader-writer synchronization for multiprocessor real-time
    systems", 2010). Each waits for one holder of the other kind at most, beside those that are ahead of its own kind.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._alone = False
        self._waiting = 0  # for exclusiveness
        self._queued = 0  # to share, after the exclusive holder that is there or comes next
        self._admitted = 0  # of those, to share before the next exclusive holder
        self._turn = 0  # exclusive holders that have ended

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other sharers."""
        with self._changed:
            if self._alone or self._waiting:
                self._queue()
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock exclusively. Must not be requested by a thread that shares it."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not (self._alone or self._sharing or self._admitted))
                self._alone = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()  # who queued for this thread must not wait if it was interrupted
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._turn += 1
                self._admitted += self._queued
                self._queued = 0
                self._changed.notify_all()

    def _queue(self) -> None:
        """Wait for an exclusive holder to end, or for there to be none any more."""
        turn = self._turn
        self._queued += 1
        try:
            self._changed.wait_for(lambda: self._turn != turn or not (self._alone or self._waiting))
        finally:
            if self._turn != turn:
                self._admitted -= 1
            else:
                self._queued -= 1
            self._changed.notify_all()
