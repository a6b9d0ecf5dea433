"""Follows the alias by which an index was opened when it moves to another index."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hybrid_search.errors import HybridSearchError, PartialAlias
from hybrid_search.retrieval.open_index import IndexSource, Lease, OpenIndex

__all__ = ["CHECK_EVERY", "AliasFollower"]

CHECK_EVERY = 5.0
"""Seconds between two checks of the alias."""

_LOG = logging.getLogger(__name__)


class AliasFollower(IndexSource):
    """Lends the index that an alias stands for; after the alias has moved, the next one within a few seconds.

    A call uses one index and its towers from start to end, so no answer mixes two models. Every few seconds the next
    call checks the alias (one small request); if it has moved, it opens the new index. Calls on other threads continue
    with the old index, which is closed after the last of them. While the server can't be reached, or the new index
    can't be opened, the old one is lent, and that is logged. If the alias gets a filter or routing, nothing is lent,
    because what it hides would be shown.

    :param first: the index that the alias stands for now.
    :param opened: opens the index that the alias stands for when it is called.
    :param moved: returns whether the alias stands for another index than the given one.
    :ivar check_every: seconds between two checks of the alias.
    """

    def __init__(
        self,
        first: OpenIndex,
        opened: Callable[[], OpenIndex],
        moved: Callable[[OpenIndex], bool],
        *,
        check_every: float = CHECK_EVERY,
    ) -> None:
        super().__init__(first)
        self._opened = opened
        self._moved = moved
        self.check_every = check_every
        self._state = threading.Lock()
        self._checking = threading.Lock()
        self._refused = ""
        self._next_look = time.monotonic() + check_every

    @property
    def is_due(self) -> bool:
        """Whether it is time to check the alias."""
        return time.monotonic() >= self._next_look

    def look(self) -> None:
        """Check the alias if it is time and no other thread is doing it; failures are logged."""
        if not self.is_due or not self._checking.acquire(blocking=False):
            return
        try:
            if not self._closed:
                self._refresh()
        except PartialAlias:
            pass  # raised by lend
        except HybridSearchError as error:
            _LOG.warning("going on with the index as it was opened: %s", error)
        finally:
            self._checking.release()

    def lend(self) -> Lease:
        """Lend the index that the alias stood for at the last check.

        :raises UsageError: if this is closed.
        :raises PartialAlias: if the alias has a filter or routing.
        """
        with self._state:
            self._check_open()
            if self._refused:
                raise PartialAlias(self._refused)
            self._lease.users += 1
            return self._lease

    def take_back(self, lease: Lease) -> bool:
        """End a loan; return whether it was the last one of a replaced index, which the caller must then close."""
        with self._state:
            lease.users -= 1
            return lease.left and not lease.users

    def has_left(self, index: OpenIndex) -> bool:
        """Check the alias after a failure; return whether it stands for another index than this one."""
        with self._checking:
            try:
                return self._lease.index is not index or (not self._closed and self._refresh())
            except HybridSearchError as error:
                _LOG.warning("going on with the index as it was opened: %s", error)
                return False

    def refresh(self) -> bool:
        """Check the alias now; see :meth:`~hybrid_search.retrieval.retriever.Retriever.refresh`."""
        with self._checking:
            self._check_open()
            return self._refresh()

    def close(self) -> None:
        """Close the index when all calls that use it have ended. Closing twice is harmless."""
        with self._checking:
            self._closed = True
            self._leave(self._lease)

    def _refresh(self) -> bool:
        self._next_look = time.monotonic() + self.check_every
        old = self._lease
        try:
            moved = self._moved(old.index)
            new = self._opened() if moved else None
        except PartialAlias as error:
            self._refused, self._next_look = str(error), 0.0  # calls fail until a check succeeds
            raise
        self._refused = ""
        if new is None:
            return False
        with self._state:
            self._lease = Lease(new)
        self._leave(old)
        return True

    def _leave(self, lease: Lease) -> None:
        with self._state:
            done = not lease.left and not lease.users
            lease.left = True
        if done:
            lease.index.engine.close()
