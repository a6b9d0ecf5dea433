"""The ids of rows, kept in memory: a row's id never changes, so what is known can't go stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.database import Database
from hybrid_search.streams import in_batches

__all__ = ["RowIds"]

Rows = NDArray[np.int64]

_CHUNK = 500
_MOST_IDS = 1_000_000
_WORTH_ALL = 2_000
_READ_AT_ONCE = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """One entry a row; ``there`` says which are filled in. Arrays, because a search looks up hundreds at once.

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
    """Ids by row, read from the store where they are not known yet. Every method is safe in any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = _Known(np.empty(1, object), np.zeros(1, bool))
        self._looked_up = 0

    def ids(self, rows: Rows) -> list[str | None]:
        """Look up the ids of rows, None for a row that is gone (it may still be known when it went just now)."""
        if not len(rows):
            return []
        if rows.max() >= _MOST_IDS:
            found = self.read(rows.tolist())
            return [found.get(row) for row in rows.tolist()]
        ids: list[str | None] = self._knowing(rows).ids[rows].tolist()
        return ids

    def there(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows are there, (n,) -> (n,)."""
        # Rows that there is no place for yet are taken for the last place, which is never filled in.
        known = self._known.there.take(rows, mode="clip")
        if known.all():
            return known
        if rows.max() < _MOST_IDS:
            return self._knowing(rows).there[rows]
        return np.array([id is not None for id in self.ids(rows)])

    def read(self, rows: Sequence[int]) -> dict[int, str]:
        """Read ids from the store; rows that are gone are left out."""
        found: dict[int, str] = {}
        with self._database.reading() as connection:
            for chunk in in_batches(rows, _CHUNK):
                marks = ",".join("?" for _ in chunk)
                found.update(connection.execute(f"SELECT row, id FROM documents WHERE row IN ({marks})", chunk))
        return found

    def _knowing(self, rows: Rows) -> _Known:
        """Return what is known, these rows included where they are there."""
        known = self._known
        if len(rows) and (last := int(rows.max())) >= len(known.there) - 1:
            known = known.grown(last + 2 + last // 2)
            self._known = known
        missing = rows[~known.there[rows]].tolist()
        if missing:
            known.learn(self.read(missing).items())
            self._looked_up += len(missing)
            if self._looked_up > _WORTH_ALL:
                self._learn_all(known)
        return known

    def _learn_all(self, known: _Known) -> None:
        """Read the ids of a small index at once: a process that goes on searching needs nearly all of them."""
        self._looked_up = -_MOST_IDS
        with self._database.reading() as connection:
            pairs = connection.execute("SELECT row, id FROM documents WHERE row < ?", (_READ_AT_ONCE,)).fetchall()
        known.learn(pairs)
