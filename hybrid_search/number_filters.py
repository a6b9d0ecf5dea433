"""Comparisons of numbers answered by arithmetic, whatever number a field is compared with. Layer 1.

A field of whole numbers holds none that is 9.5, and none beyond 64 bits; both have a place in the order all the same:
``price >= 9.5`` is ``price >= 10``, and ``price < 1e300`` is every price. Each engine gets comparisons with numbers of
the field's own type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from hybrid_search.config import FieldType
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Scalar, Term, Terms

__all__ = ["in_its_type"]

_LEAST, _MOST = -(2**63), 2**63 - 1
_EXACT = 2**53
"""Up to here a double holds every whole number."""

_ROUNDED = {"gte": math.ceil, "gt": math.floor, "lte": math.floor, "lt": math.ceil}
"""The whole number that takes a bound's place in the same comparison."""

_ZEROS = {"gte": -0.0, "gt": 0.0, "lte": 0.0, "lt": -0.0}
"""Lucene tells -0 from 0 and puts it before; these bounds don't."""


def in_its_type(filter: Filter, fields: Mapping[str, FieldType]) -> Filter:
    """Return a filter that lets the same documents pass and compares each number with one of its field's type.

    :param filter: checked by :func:`~hybrid_search.filters.check_filter`.
    """
    match filter:
        case And(parts):
            return And(tuple(in_its_type(part, fields) for part in parts))
        case Or(parts):
            return Or(tuple(in_its_type(part, fields) for part in parts))
        case Not(part):
            return Not(in_its_type(part, fields))
        case Term(field, value) if _is_number(fields[field]):
            held = _held((value,), fields[field])
            return Term(field, held[0]) if len(held) == 1 else Terms(field, held)
        case Terms(field, values) if _is_number(fields[field]):
            return Terms(field, _held(values, fields[field]))
        case Range(field) if _is_number(fields[field]):
            return _range(filter, fields[field])
    return filter


def _is_number(kind: FieldType) -> bool:
    return kind in ("long", "double")


def _held(values: tuple[Scalar, ...], kind: FieldType) -> tuple[Scalar, ...]:
    """Return those of the values that a field of this type can hold, in it."""
    numbers = [_number(value) for value in values]
    finite = [number for number in numbers if math.isfinite(number)]
    if kind == "long":
        return tuple(int(number) for number in finite if number == int(number) and _LEAST <= number <= _MOST)
    return tuple(held for number in finite for held in ((0.0, -0.0) if number == 0 else (_as_double(number),)))


def _range(range_: Range, kind: FieldType) -> Filter:
    bounds: dict[str, int | float] = {}
    for name in _ROUNDED:
        value = getattr(range_, name)
        if value is None:
            continue
        bound = _bound(name, _number(value), kind)
        if -math.inf < bound < math.inf:
            bounds[name] = bound
        elif (bound > 0) == name.startswith("g"):  # above all there is, or below
            return Terms(range_.field, ())
    return Range(range_.field, **bounds) if bounds else Exists(range_.field)


def _bound(name: str, number: int | float, kind: FieldType) -> int | float:
    """Return a bound in the field's type; infinite where it lies outside of all that the field can hold."""
    if kind == "double":
        return _ZEROS[name] if number == 0 else _as_double(number)
    if math.isinf(number):
        return number
    whole = _ROUNDED[name](number)
    return whole if _LEAST <= whole <= _MOST else math.copysign(math.inf, whole)


def _number(value: Scalar) -> int | float:
    """Return a number, infinite where it is beyond any double."""
    assert isinstance(value, int | float)
    try:
        float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _as_double(number: int | float) -> int | float:
    """Return a number as a field of doubles holds it; a small whole one is the same."""
    return number if -_EXACT <= number <= _EXACT else float(number)
