"""Facets: how many matching documents have which value of a metadata field. What both engines share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_search.filters.dates import of_milliseconds
from hybrid_search.settings.index import FieldType

__all__ = ["Value", "most_frequent", "value_of"]

Value = str | int | float | bool


def value_of(stored: Any, kind: FieldType) -> Value:
    """Return a value as documents have it, from the form in which an engine keeps a field of this type."""
    if kind == "boolean":
        return bool(stored)
    if kind == "double":
        return float(stored) + 0.0  # -0.0 is 0.0
    if kind == "date" and isinstance(stored, int | float):
        return _date(int(stored))
    return int(stored) if kind == "long" else str(stored)


def _date(milliseconds: int) -> str:
    try:
        return of_milliseconds(milliseconds)
    except ValueError:  # written by others: no document of this package has it
        return str(milliseconds)


def most_frequent(counts: Mapping[Value, int], most: int) -> dict[Value, int]:
    """Return the values with the highest counts, ties by value."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(ordered[:most])
