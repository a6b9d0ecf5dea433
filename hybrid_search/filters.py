"""The filter tree over metadata fields, and its check against an index's fields; each engine renders it. Layer 1.

``hybrid_search.filter_parser`` reads it from text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_search.config import FieldType
from hybrid_search.errors import FilterError

__all__ = ["And", "Exists", "Filter", "Not", "Or", "Range", "Scalar", "Term", "Terms", "check_filter"]

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Term:
    """The field has this value (or it is among its values)."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Terms:
    """The field has one of these values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies between bounds; None is open. Keywords compare by code point, so ISO dates work."""

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
    """All hold."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one holds."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not hold; a document without the field passes."""

    filter: Filter


Filter = Term | Terms | Range | Exists | And | Or | Not

_WANTED: Mapping[FieldType, str] = {
    "keyword": 'text in quotes, as in "en"',
    "long": "a whole number",
    "double": "a number",
    "boolean": "true or false",
}


def check_filter(filter: Filter, fields: Mapping[str, FieldType]) -> None:
    """Check that a filter names declared fields only and compares each with values of its type.

    :param fields: the index's metadata fields and their types.
    :raises FilterError: naming the field, and the declared fields or the wanted type.
    """
    match filter:
        case And(parts) | Or(parts):
            for part in parts:
                check_filter(part, fields)
        case Not(part):
            check_filter(part, fields)
        case Range():
            _check_range(filter, _type_of(filter.field, fields))
        case Term(field, value):
            _check_value(field, value, _type_of(field, fields))
        case Terms(field, values):
            for value in values:
                _check_value(field, value, _type_of(field, fields))
        case Exists(field):
            _type_of(field, fields)


def _type_of(field: str, fields: Mapping[str, FieldType]) -> FieldType:
    if field in fields:
        return fields[field]
    known = ", ".join(f"{name} ({kind})" for name, kind in sorted(fields.items())) or "none"
    raise FilterError(f"the index has no field {field!r}; its fields are: {known}")


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
        fits = isinstance(value, str)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        fits = False
    elif isinstance(value, float):
        fits = kind == "double" and math.isfinite(value)
    else:
        fits = -(2**63) <= value < 2**63
    if not fits:
        raise FilterError(f"field {field!r} is {kind}, so it compares with {_WANTED[kind]}, not with {value!r}")
