"""Rewrites comparisons with numbers and dates into equivalent ones with values of the field's own type.

A field of whole numbers can't hold 9.5 or anything beyond 64 bits, but comparing with them has a meaning:
``price >= 9.5`` is ``price >= 10``, and ``price < 1e300`` holds for every price. So an engine only gets comparisons
with numbers that the field can hold.

A date becomes its canonical text, and a day what lies between its first and its last millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Scalar, Term, Terms
from hybrid_search.filters.dates import first_and_last
from hybrid_search.settings.index import FieldType

__all__ = ["in_its_type"]

_LEAST, _MOST = -(2**63), 2**63 - 1
_EXACT = 2**53
"""Doubles represent every whole number up to this one exactly."""

_ROUNDED = {"gte": math.ceil, "gt": math.floor, "lte": math.floor, "lt": math.ceil}
"""Comparison -> how a bound that is not whole is rounded for a field of whole numbers."""

_ZEROS = {"gte": -0.0, "gt": 0.0, "lte": 0.0, "lt": -0.0}
"""Comparison -> which zero a bound of 0 becomes: Lucene orders -0.0 before 0.0, and both must be treated alike."""


def in_its_type(filter: Filter, fields: Mapping[str, FieldType]) -> Filter:
    """Return an equivalent filter in which each field is compared with values of its own type.

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
            values = _storable((value,), fields[field])
            return Term(field, values[0]) if len(values) == 1 else Terms(field, values)
        case Terms(field, values) if _is_number(fields[field]):
            return Terms(field, _storable(values, fields[field]))
        case Range(field) if _is_number(fields[field]):
            return _range(filter, fields[field])
        case Term(field, value) if fields[field] == "date":
            return _between(field, value)
        case Terms(field, values) if fields[field] == "date":
            return Or(tuple(_between(field, value) for value in dict.fromkeys(values)))
        case Range(field) if fields[field] == "date":
            return _range_of_dates(filter)
    return filter


def _between(field: str, date: Scalar) -> Range:
    # A server takes no list of more than 1,024 dates, and as ranges they are counted, and refused with a reason.
    first, last = first_and_last(date)
    return Range(field, gte=first, lte=last)


def _range_of_dates(range_: Range) -> Range:
    asked = {name: first_and_last(bound) for name in _ROUNDED if (bound := getattr(range_, name)) is not None}
    return Range(range_.field, **{name: both[name in ("gt", "lte")] for name, both in asked.items()})


def _is_number(kind: FieldType) -> bool:
    return kind in ("long", "double")


def _storable(values: tuple[Scalar, ...], kind: FieldType) -> tuple[Scalar, ...]:
    """Return the values that a field of this type can hold, converted to the type; zero becomes 0.0 and -0.0."""
    numbers = [_number(value) for value in values]
    finite = [number for number in numbers if math.isfinite(number)]
    if kind == "long":
        return tuple(int(number) for number in finite if number == int(number) and _LEAST <= number <= _MOST)
    return tuple(double for number in finite for double in ((0.0, -0.0) if number == 0 else (_as_double(number),)))


def _range(range_: Range, kind: FieldType) -> Filter:
    bounds: dict[str, int | float] = {}
    for name in _ROUNDED:
        value = getattr(range_, name)
        if value is None:
            continue
        bound = _bound(name, _number(value), kind)
        if -math.inf < bound < math.inf:
            bounds[name] = bound
        elif (bound > 0) == name.startswith("g"):  # above the largest number, or below the least
            return Terms(range_.field, ())
    return Range(range_.field, **bounds) if bounds else Exists(range_.field)


def _bound(name: str, number: int | float, kind: FieldType) -> int | float:
    """Return a bound converted to the field's type; infinite if it is outside the type's range."""
    if kind == "double":
        return _ZEROS[name] if number == 0 else _as_double(number)
    if math.isinf(number):
        return number
    whole = _ROUNDED[name](number)
    return whole if _LEAST <= whole <= _MOST else math.copysign(math.inf, whole)


def _number(value: Scalar) -> int | float:
    """Return the value as a number; infinite if it is an int beyond the range of doubles."""
    assert isinstance(value, int | float)
    try:
        float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _as_double(number: int | float) -> int | float:
    """Return the number that a field of doubles stores; ints up to 2**53 are exact and stay as they are."""
    return number if -_EXACT <= number <= _EXACT else float(number)
