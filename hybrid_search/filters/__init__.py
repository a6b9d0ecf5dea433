"""The filter tree over metadata fields, and its check against an index's fields; each engine renders it.

``hybrid_search.filters.parser`` reads it from text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hybrid_search.errors import FilterError, shown
from hybrid_search.filters.dates import EXPECTED, first_and_last
from hybrid_search.settings.index import FieldType
from hybrid_search.types import is_unicode

__all__ = ["And", "Exists", "Filter", "Not", "Or", "Range", "Scalar", "Term", "Terms", "check_filter"]

Scalar = str | int | float | bool

T = TypeVar("T")

_DEEPEST = 100
"""Levels of nesting; a server and Python itself go not much deeper."""


@dataclass(frozen=True, slots=True)
class Term:
    """The field has this value (or it is among its values); a day without a time is all of that day."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Terms:
    """The field has one of these values."""

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _kept(self.values, "values"))


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies between the bounds; a bound of None is open.

    Keywords compare by code point, so ISO dates that are all written alike work; a field of type ``date`` reads
    any, and a day without a time is all of that day.
    """

    field: str
    gte: Scalar | None = None
    gt: Scalar | None = None
    lte: Scalar | None = None
    lt: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """All filters hold; without any, every document passes."""

    filters: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _kept(self.filters, "filters"))


@dataclass(frozen=True, slots=True)
class Or:
    """At least one filter holds; without any, no document passes."""

    filters: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _kept(self.filters, "filters"))


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not hold; a document without the field passes."""

    filter: Filter


def _kept(parts: Iterable[T], name: str) -> tuple[T, ...]:
    """Copy the parts into a tuple, as a generator would be empty at the second use.

    :raises FilterError: if ``parts`` is a single text, whose letters would be taken for the parts, or not iterable.
    """
    if isinstance(parts, str | bytes) or not isinstance(parts, Iterable):
        raise FilterError(f"{name} is {shown(parts)}; give a tuple of {name}")
    return tuple(parts)


Filter = Term | Terms | Range | Exists | And | Or | Not

_WANTED: Mapping[FieldType, str] = {
    "keyword": 'text in quotes, as in "en"',
    "long": "a number",
    "double": "a number",
    "boolean": "true or false",
    "date": EXPECTED,
}


def check_filter(filter: Filter, fields: Mapping[str, FieldType]) -> None:
    """Check that a filter names declared fields only and compares each with values of its type.

    :param fields: the index's metadata fields and their types.
    :raises FilterError: if a field is not declared (the message lists those that are), a value has another type than
        its field, or ``filter`` is not built of the classes of this module.
    """
    _check(filter, fields, 0)


def _check(filter: Filter, fields: Mapping[str, FieldType], level: int) -> None:
    if level > _DEEPEST:
        raise FilterError(f"the filter is nested more than {_DEEPEST} levels deep; join more in one And or Or")
    match filter:
        case And(parts) | Or(parts):
            for part in parts:
                _check(part, fields, level + 1)
        case Not(part):
            _check(part, fields, level + 1)
        case Range():
            _check_range(filter, _type_of(filter.field, fields))
        case Term(field, value):
            _check_value(field, value, _type_of(field, fields))
        case Terms(field, values):
            kind = _type_of(field, fields)
            for value in values:
                _check_value(field, value, kind)
        case Exists(field):
            _type_of(field, fields)
        case _:
            raise FilterError(f"{shown(filter)} is no filter; give Term, Terms, Range, Exists, And, Or or Not")


def _type_of(field: str, fields: Mapping[str, FieldType]) -> FieldType:
    if isinstance(field, str) and field in fields:
        return fields[field]
    known = ", ".join(f"{name} ({kind})" for name, kind in sorted(fields.items())) or "none"
    raise FilterError(f"the index has no field {shown(field)}; its fields are: {known}")


def _check_range(range_: Range, kind: FieldType) -> None:
    bounds = [bound for bound in (range_.gte, range_.gt, range_.lte, range_.lt) if bound is not None]
    if not bounds:
        raise FilterError(f"a range over {range_.field!r} has no bound; give gte, gt, lte or lt, or use exists")
    if kind == "boolean":
        raise FilterError(f"field {range_.field!r} is boolean and has no order; compare it with = true or = false")
    for bound in bounds:
        _check_value(range_.field, bound, kind)


def _check_value(field: str, value: Scalar, kind: FieldType) -> None:
    if kind == "boolean":
        fits = isinstance(value, bool)
    elif kind == "keyword":
        fits = isinstance(value, str) and is_unicode(value)
    elif kind == "date":
        fits = _is_date(value)
    else:
        # Any number but NaN can be compared with a field's numbers: number_filters rewrites the comparison.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and not (isinstance(value, float) and math.isnan(value))
    if not fits:
        raise FilterError(f"field {field!r} is {kind}, so it compares with {_WANTED[kind]}, not with {shown(value)}")


def _is_date(value: Scalar) -> bool:
    try:
        first_and_last(value)
    except ValueError:
        return False
    return True
