"""A cache of the ids of rows. A row's id never changes, so entries don't become stale."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store.database import Database
from hybrid_search.streams import in_batches

__all__ = ["RowIds"]

Rows = NDArray[np.int64]

_CHUNK = 500
_MOST_IDS = 1_000_000
_WORTH_ALL = 2_000
_READ_AT_ONCE = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """An entry per row; ``there`` marks those that are filled in. Arrays, as a search looks up hundreds at once.

    The last entry stays empty.
    """

    ids: NDArray[np.object_]
    there: NDArray[np.bool_]

    def grown(self, size: int) -> _Known:
        more = size - len(self.there)
        ids, there = np.empty(more, object), np.zeros(more, bool)
        return _Known(np.concatenate([self.ids, ids]), np.concatenate([self.there, there]))

    def learn(self, pairs: Iterable[tuple[int, str]]) -> None:
        for row, id in pairs:
            if row < len(self.there) - 1:
                self.ids[row] = id
                self.there[row] = True  # last: other threads look here first


class RowIds:
    """Ids by row, read from the store if they are not cached yet. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Threads read the arrays without the lock: an entry is filled in before it is marked, and never changes; arrays
        # that are replaced by larger ones stay valid. Filling in and growing need the lock, or entries would be lost.
        self._known = _Known(np.empty(1, object), np.zeros(1, bool))
        self._learning = threading.Lock()
        self._looked_up = 0

    def ids(self, rows: Rows) -> list[str | None]:
        """Look up the ids of rows, None for a deleted row (one that was deleted just now may still be cached)."""
        if not len(rows):
            return []
        if rows.max() >= _MOST_IDS:
            found = self.read(rows.tolist())
            return [found.get(row) for row in rows.tolist()]
        ids: list[str | None] = self._knowing(rows).ids[rows].tolist()
        return ids

    def there(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows exist, (n,) -> (n,)."""
        # Rows beyond the arrays are clipped to the last entry, which is never filled in.
        known = self._known.there.take(rows, mode="clip")
        if known.all():
            return known
        if rows.max() < _MOST_IDS:
            return self._knowing(rows).there[rows]
        return np.array([id is not None for id in self.ids(rows)])

    def read(self, rows: Sequence[int]) -> dict[int, str]:
        """Read ids from the store; deleted rows are left out."""
        found: dict[int, str] = {}
        with self._database.reading() as connection:
            for chunk in in_batches(rows, _CHUNK):
                marks = ",".join("?" for _ in chunk)
                found.update(connection.execute(f"SELECT row, id FROM documents WHERE row IN ({marks})", chunk))
        return found

    def _knowing(self, rows: Rows) -> _Known:
        """Return the cache with these rows filled in, except for deleted ones."""
        known = self._known
        last = int(rows.max(initial=0))
        if last < len(known.there) - 1 and known.there[rows].all():
            return known
        found = self.read(rows[~known.there.take(rows, mode="clip")].tolist())
        with self._learning:
            known = self._learnt(found.items(), last)
            self._looked_up += len(found)
            wants_all = self._looked_up > _WORTH_ALL
            if wants_all:
                self._looked_up = -_MOST_IDS
        return self._knowing_all(last) if wants_all else known

    def _knowing_all(self, last: int) -> _Known:
        """Read all ids of a small index at once, as a process that goes on searching needs nearly all of them."""
        with self._database.reading() as connection:
            pairs = connection.execute("SELECT row, id FROM documents WHERE row < ?", (_READ_AT_ONCE,)).fetchall()
        with self._learning:
            return self._learnt(pairs, last)

    def _learnt(self, pairs: Iterable[tuple[int, str]], last: int) -> _Known:
        """Fill in ids and return the cache, grown to include the row ``last``. Requires the lock."""
        known = self._known
        if last >= len(known.there) - 1:
            known = self._known = known.grown(last + 2 + last // 2)
        known.learn(pairs)
        return known
