"""Counts matching rows: how many documents they are, and how many of them have which metadata value."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search.ranking import Rows
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.facets import most_frequent, value_of
from hybrid_search.passages import OF
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Matches

__all__ = ["Counter"]


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A metadata field: the row of each value, and which value it is.

    :ivar rows: (n,) a row with several values is there several times.
    :ivar codes: (n,) positions in ``values``.
    """

    rows: Rows
    codes: NDArray[np.int64]
    values: list[object]


class Counter:
    """Counts rows; keeps the columns of the fields it was asked for until the index changes. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation = -1
        self._columns: dict[str, _Column] = {}
        self._guard = threading.Lock()

    def matches(
        self,
        rows: Rows,
        facets: Sequence[str],
        most_values: int,
        fields: Mapping[str, FieldType],
        generation: int,
        *,
        by_document: bool,
    ) -> Matches:
        """Count rows.

        :param rows: (n,) distinct.
        :param facets: declared fields whose values are counted.
        :param by_document: count the documents that have these rows as passages.
        """
        size = int(rows.max(initial=0)) + 1
        is_match = np.zeros(size, bool)
        is_match[rows] = True
        of = np.arange(size)  # the number of a row's document
        if by_document and OF in fields:
            column = self._column(OF, generation)
            known = column.rows < size
            of[column.rows[known]] = size + column.codes[known]
        counted = {field: self._counted(field, is_match, of, most_values, fields, generation) for field in facets}
        return Matches(len(np.unique(of[rows])), counted)

    def _counted(
        self,
        field: str,
        is_match: NDArray[np.bool_],
        of: NDArray[np.int64],
        most_values: int,
        fields: Mapping[str, FieldType],
        generation: int,
    ) -> Mapping[str | int | float | bool, int]:
        column = self._column(field, generation)
        known = column.rows < len(is_match)
        known[known] = is_match[column.rows[known]]
        pairs = np.unique(np.stack([column.codes[known], of[column.rows[known]]]), axis=1)
        numbers = np.bincount(pairs[0]) if pairs.size else np.empty(0, np.int64)
        counts = {value_of(column.values[code], fields[field]): int(numbers[code]) for code in np.flatnonzero(numbers)}
        return most_frequent(counts, most_values)

    def _column(self, field: str, generation: int) -> _Column:
        with self._guard:
            if generation != self._generation:
                self._columns.clear()
                self._generation = generation
            if field not in self._columns:
                self._columns[field] = self._read(field)
            return self._columns[field]

    def _read(self, field: str) -> _Column:
        with self._store.database.reading() as connection:
            found = connection.execute("SELECT value, row FROM fields WHERE field = ?", (field,)).fetchall()
        code_of: dict[object, int] = {}
        codes = [code_of.setdefault(value, len(code_of)) for value, _ in found]
        return _Column(np.array([row for _, row in found], np.int64), np.array(codes, np.int64), list(code_of))
