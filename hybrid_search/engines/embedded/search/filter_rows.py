"""Resolves a filter to the rows that pass it, in SQLite, once per generation."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import reduce
from sqlite3 import Connection
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store.store import Store, read_state
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms, check_filter
from hybrid_search.filters.typed import in_its_type
from hybrid_search.settings.index import FieldType

__all__ = ["FilterCache", "RowFilter"]

Mask = NDArray[np.bool_]
T = TypeVar("T")

_MOST_FILTERS = 16


class RowFilter:
    """The rows that pass a filter.

    :ivar mask: (last row + 1,) booleans; deleted rows may pass, as no leg finds them.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self._derived: dict[str, Any] = {}

    def passes(self, rows: NDArray[np.int64]) -> Mask:
        """Return which rows pass, (n,) -> (n,); rows added after the filter was resolved don't."""
        inside = rows < len(self.mask)
        return inside & self.mask[np.where(inside, rows, 0)]

    def derive(self, name: str, build: Callable[[], T]) -> T:
        """Return a leg's own form of this filter (a tantivy query, FAISS's bitmap), built at the first call.

        Not locked: two threads that call at the same time both build it.
        """
        if name not in self._derived:
            self._derived[name] = build()
        return cast("T", self._derived[name])


class FilterCache:
    """The filters used last, resolved for one generation. A thread waits for its own filter only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation = -1
        self._kept: OrderedDict[str, Future[RowFilter]] = OrderedDict()
        self._guard = threading.Lock()

    def forget(self) -> None:
        """Drop all resolved filters; needed when a leg changes, as derived forms fit the leg's state at that time."""
        with self._guard:
            self._kept.clear()

    def resolve(self, filter: Filter, generation: int, fields: Mapping[str, FieldType]) -> RowFilter:
        """Resolve a filter.

        :raises FilterError: if it names an undeclared field or compares with a value of another type.
        """
        check_filter(filter, fields)
        filter = in_its_type(filter, fields)
        key = repr(filter)  # equality of the records would take True for 1
        with self._guard:
            if generation != self._generation:
                self._kept.clear()
                self._generation = generation
            known = self._kept.get(key)
            if known is None:
                resolved = self._kept[key] = Future()
                if len(self._kept) > _MOST_FILTERS:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
        if known is not None:
            return known.result()
        try:
            resolved.set_result(self._resolved(filter))
        except BaseException as error:
            resolved.set_exception(error)
            with self._guard:
                if self._kept.get(key) is resolved:
                    del self._kept[key]  # the next search tries again
            raise
        return resolved.result()

    def _resolved(self, filter: Filter) -> RowFilter:
        with self._store.database.reading() as connection:
            return RowFilter(_mask(filter, connection, read_state(connection).next_row))


def _mask(filter: Filter, connection: Connection, size: int) -> Mask:
    match filter:
        case And(parts):
            return reduce(np.bitwise_and, (_mask(part, connection, size) for part in parts), np.ones(size, bool))
        case Or(parts):
            return reduce(np.bitwise_or, (_mask(part, connection, size) for part in parts), np.zeros(size, bool))
        case Not(part):
            return ~_mask(part, connection, size)
        case _:
            return _leaf_mask(filter, connection, size)


def _leaf_mask(filter: Term | Terms | Range | Exists, connection: Connection, size: int) -> Mask:
    mask = np.zeros(size, bool)
    values = filter.values if isinstance(filter, Terms) else (filter.value,) if isinstance(filter, Term) else ()
    queries: list[tuple[str, tuple[Any, ...]]]
    if isinstance(filter, Term | Terms):
        queries = [("value = ?", (value,)) for value in values]
    else:
        queries = [_bounds(filter)] if isinstance(filter, Range) else [("1", ())]
    for condition, parameters in queries:
        # One text of all rows: to make a Python object of each would take three times as long.
        query = f"SELECT group_concat(row) FROM fields WHERE field = ? AND {condition}"
        (listed,) = connection.execute(query, (filter.field, *parameters)).fetchone()
        rows = np.fromstring(listed or "", np.int64, sep=",")
        mask[rows[rows < size]] = True
    return mask


def _bounds(range_: Range) -> tuple[str, tuple[Any, ...]]:
    bounds = {">=": range_.gte, ">": range_.gt, "<=": range_.lte, "<": range_.lt}
    given = {operator: bound for operator, bound in bounds.items() if bound is not None}
    return " AND ".join(f"value {operator} ?" for operator in given), tuple(given.values())
