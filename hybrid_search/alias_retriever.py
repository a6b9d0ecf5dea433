"""A retriever that goes along when the alias it was opened by moves to another index."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hybrid_search.errors import HybridSearchError, PartialAlias, SearchIndexError, UsageError
from hybrid_search.filters import Filter
from hybrid_search.protocols import Vectors
from hybrid_search.retriever import AddReport, Mode, Retriever
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.types import Document, Hit, Ranking

__all__ = ["CHECK_EVERY", "FollowingRetriever"]

CHECK_EVERY = 5.0
"""Seconds between two looks at the alias."""

Answer = TypeVar("Answer")

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """An open retriever, and how many calls are at work in it; it is closed when it is left and the last has ended."""

    retriever: Retriever
    users: int = 0
    left: bool = False


class FollowingRetriever(Retriever):
    """Searches the index that an alias stands for, and the next one from a few seconds after the alias has moved.

    A call works from its beginning to its end with one index and the towers of that index, so no answer mixes two
    models. Every few seconds the call that comes next looks at the alias (one small request), and if it has moved,
    opens the new index; calls on other threads meanwhile go on with the old one, which is closed after the last of
    them. While the server can't be asked, or the new index can't be opened, the old one answers, and the log says so.
    Once the alias has been given a filter or a routing, every call is refused: whoever set it means to hide something.

    :param first: the index that the alias stands for.
    :param opened: opens what the alias stands for by then.
    :param moved: tells of an open retriever whether the alias stands for another index than its own.
    :ivar check_every: seconds between two looks at the alias.
    :ivar encoder: the towers of the index that answers at the moment; likewise ``engine`` and ``fusion``.
    """

    def __init__(
        self,
        first: Retriever,
        opened: Callable[[], Retriever],
        moved: Callable[[Retriever], bool],
        *,
        check_every: float = CHECK_EVERY,
    ) -> None:
        self._opened = opened
        self._moved = moved
        self.check_every = check_every
        self._state = threading.Lock()
        self._checking = threading.Lock()
        self._closed = False
        self._refused = ""
        self._next_look = time.monotonic() + check_every
        self._take(first)

    def refresh(self) -> bool:
        """Look at the alias now; returns whether it had moved, and its new index answers from here on.

        :raises HybridSearchError: if the server can't be asked, or the new index can't be opened; the old one stays.
        :raises UsageError: if the retriever is closed.
        """
        with self._checking:
            self._check_open()
            return self._refresh()

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> list[list[Hit]]:
        """Answer queries in one batch; see :meth:`Retriever.search_many`."""
        return self._read(
            lambda now: now.search_many(queries, k, mode=mode, filter=filter, offset=offset, fusion=fusion)
        )

    def rankings(
        self,
        queries: Sequence[str],
        k: int,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        bm25: Bm25 | None = None,
    ) -> list[Ranking]:
        """Rank without fetching texts; see :meth:`Retriever.rankings`."""
        return self._read(lambda now: now.rankings(queries, k, mode=mode, filter=filter, bm25=bm25))

    def add(self, documents: Iterable[Document], *, batch_size: int = 1_024) -> AddReport:
        """Encode, add and commit documents, all to one index; see :meth:`Retriever.add`."""
        with self._lease() as now:
            return now.add(documents, batch_size=batch_size)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents and commit; see :meth:`Retriever.delete`."""
        with self._lease() as now:
            return now.delete(ids)

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id; see :meth:`Retriever.get`."""
        return self._read(lambda now: now.get(ids))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode with the query tower of the index that answers; see :meth:`Retriever.encode_queries`."""
        with self._lease() as now:
            return now.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode with the document tower of the index that answers; see :meth:`Retriever.encode_documents`."""
        with self._lease() as now:
            return now.encode_documents(texts)

    def close(self) -> None:
        """Close the index when the calls at work in it have ended. Closing again is harmless."""
        with self._checking:
            self._closed = True
            self._leave(self._held)

    def _read(self, ask: Callable[[Retriever], Answer]) -> Answer:
        """Ask; once more if the alias has moved since the last look at it, and the old index was dropped."""
        with self._lease() as first:
            try:
                return ask(first)
            except SearchIndexError:  # an index that is being deleted fails in many ways
                if not self._has_left(first):
                    raise
        with self._lease() as now:
            return ask(now)

    def _has_left(self, retriever: Retriever) -> bool:
        with self._checking:
            try:
                return self._held.retriever is not retriever or (not self._closed and self._refresh())
            except HybridSearchError as error:
                _LOG.warning("going on with the index as it was opened: %s", error)
                return False

    @contextmanager
    def _lease(self) -> Iterator[Retriever]:
        self._look()
        with self._state:
            self._check_open()
            if self._refused:
                raise PartialAlias(self._refused)
            held = self._held
            held.users += 1
        try:
            yield held.retriever
        finally:
            with self._state:
                held.users -= 1
                done = held.left and not held.users
            if done:
                held.retriever.close()

    def _look(self) -> None:
        """Look at the alias if it is time and nobody else is at it."""
        if time.monotonic() < self._next_look or not self._checking.acquire(blocking=False):
            return
        try:
            if not self._closed:
                self._refresh()
        except PartialAlias:
            pass  # whoever asks is told
        except HybridSearchError as error:
            _LOG.warning("going on with the index as it was opened: %s", error)
        finally:
            self._checking.release()

    def _refresh(self) -> bool:
        self._next_look = time.monotonic() + self.check_every
        old = self._held
        try:
            moved = self._moved(old.retriever)
            new = self._opened() if moved else None
        except PartialAlias as error:
            self._refused, self._next_look = str(error), 0.0  # nobody is answered until it is otherwise
            raise
        self._refused = ""
        if new is None:
            return False
        self._take(new)
        self._leave(old)
        return True

    def _take(self, retriever: Retriever) -> None:
        with self._state:
            self._held = _Held(retriever)
            self.encoder, self.engine, self.fusion = retriever.encoder, retriever.engine, retriever.fusion

    def _leave(self, held: _Held) -> None:
        with self._state:
            done = not held.left and not held.users
            held.left = True
        if done:
            held.retriever.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the retriever is closed; open it again")
