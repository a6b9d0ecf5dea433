"""A field compared with any number or date: what passes is what arithmetic says, and engines get the field's type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms, check_filter
from hybrid_search.filters.typed import in_its_type
from hybrid_search.settings.index import FieldType

FIELDS: dict[str, FieldType] = {"year": "long", "price": "double", "lang": "keyword", "open": "boolean", "day": "date"}
LEAST, MOST = -(2**63), 2**63 - 1
NOTHING: tuple[Any, ...] = ()
DAY = Range("day", gte="2024-05-01T00:00:00.000Z", lte="2024-05-01T23:59:59.999Z")
MOMENT = Range("day", gte="2024-05-01T10:30:00.000Z", lte="2024-05-01T10:30:00.000Z")


@pytest.mark.parametrize(
    ("filter", "asked"),
    [
        (Range("year", gte=9.5), Range("year", gte=10)),
        (Range("year", gt=9.5), Range("year", gt=9)),
        (Range("year", lte=9.5), Range("year", lte=9)),
        (Range("year", lt=9.5), Range("year", lt=10)),
        (Range("year", gt=9.0), Range("year", gt=9)),
        (Range("year", lt=9.0), Range("year", lt=9)),
        (Range("year", gte=-9.5), Range("year", gte=-9)),
        (Range("year", gte=1, lt=2.5), Range("year", gte=1, lt=3)),
        (Range("year", gte=2**63), Terms("year", NOTHING)),
        (Range("year", lt=2**63), Exists("year")),
        (Range("year", lte=1e300, gte=5), Range("year", gte=5)),
        (Range("year", lt=-1e300), Terms("year", NOTHING)),
        (Range("year", gt=-math.inf), Exists("year")),
        (Range("year", gte=10**400), Terms("year", NOTHING)),
        (Term("year", 9.5), Terms("year", NOTHING)),
        (Term("year", 9.0), Term("year", 9)),
        (Term("year", 2**63), Terms("year", NOTHING)),
        (Terms("year", (1, 1.5, 2.0, 1e300)), Terms("year", (1, 2))),
        (Not(Term("year", 9.5)), Not(Terms("year", NOTHING))),
        (And((Or((Range("year", gt=1.5),)), Exists("year"))), And((Or((Range("year", gt=1),)), Exists("year")))),
        (Range("price", gte=9.5), Range("price", gte=9.5)),
        (Range("price", gte=2**70), Range("price", gte=float(2**70))),
        (Range("price", gte=10**400), Terms("price", NOTHING)),
        (Range("price", lt=math.inf), Exists("price")),
        (Range("price", gte=0.0), Range("price", gte=-0.0)),
        (Range("price", gt=-0.0), Range("price", gt=0.0)),
        (Term("price", 0), Terms("price", (0.0, -0.0))),
        (Term("lang", "en"), Term("lang", "en")),
        (Range("lang", gte="a"), Range("lang", gte="a")),
        (Term("open", True), Term("open", True)),
        (Range("day", gte="2024-05-01"), Range("day", gte="2024-05-01T00:00:00.000Z")),
        (Range("day", gt="2024-05-01"), Range("day", gt="2024-05-01T23:59:59.999Z")),
        (Range("day", lte="2024-05-01"), Range("day", lte="2024-05-01T23:59:59.999Z")),
        (Range("day", lt="2024-05-01"), Range("day", lt="2024-05-01T00:00:00.000Z")),
        (Range("day", gt="2024-05-01T02:00+02:00"), Range("day", gt="2024-05-01T00:00:00.000Z")),
        (Term("day", "2024-05-01"), DAY),
        (Term("day", 1714559400000), MOMENT),
        (Terms("day", ("2024-05-01T10:30:00Z", "2024-05-01")), Or((MOMENT, DAY))),
    ],
    ids=repr,
)  # fmt: skip
def test_a_comparison_becomes_one_with_a_value_of_the_fields_type(filter: Filter, asked: Filter) -> None:
    check_filter(filter, FIELDS)
    assert repr(in_its_type(filter, FIELDS)) == repr(asked)  # repr tells 9 from 9.0 and 0.0 from -0.0


def passes(filter: Filter, document: Mapping[str, Any]) -> bool:
    """Compare as Python's numbers do, which is exact between whole ones and others."""
    match filter:
        case And(parts):
            return all(passes(part, document) for part in parts)
        case Or(parts):
            return any(passes(part, document) for part in parts)
        case Not(part):
            return not passes(part, document)
        case Exists(field):
            return field in document
        case Term(field, value):
            return field in document and document[field] == value
        case Terms(field, values):
            return field in document and document[field] in values
        case Range(field, gte, gt, lte, lt):
            return (
                field in document
                and (gte is None or document[field] >= gte)
                and (gt is None or document[field] > gt)
                and (lte is None or document[field] <= lte)
                and (lt is None or document[field] < lt)
            )


wholes = st.integers(LEAST, MOST) | st.integers(-3, 3) | st.sampled_from([LEAST, LEAST + 1, MOST - 1, MOST])
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.5, 2.0])
anything = (
    wholes
    | doubles
    | st.sampled_from([math.inf, -math.inf, 10**400, -(10**400), 2**63, -(2**63) - 1])
    | st.integers(-5, 5).map(lambda number: number + 0.5)
)
documents = st.fixed_dictionaries({}, optional={"year": wholes, "price": doubles})


@st.composite
def near(draw: st.DrawFn, held: Any, other: st.SearchStrategy[Any]) -> Any:
    """Draw numbers that are what a document holds, or near it, more often than chance would."""
    if held is None:
        return draw(other)
    steps = [held, float(held), math.nextafter(float(held), math.inf), math.nextafter(float(held), -math.inf)]
    return draw(other | st.sampled_from([*steps, *([held + 1, held - 1] if isinstance(held, int) else [])]))


@given(st.data(), documents)
def test_any_comparison_lets_through_what_arithmetic_does(data: st.DataObject, document: Mapping[str, Any]) -> None:
    field = data.draw(st.sampled_from(["year", "price"]))
    value = near(document.get(field), anything)
    filter: Filter = data.draw(
        st.one_of(
            value.map(lambda one: Term(field, one)),
            st.lists(value, max_size=3).map(lambda several: Terms(field, tuple(several))),
            st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), value, min_size=1).map(
                lambda bounds: Range(field, **bounds)
            ),
        )
    )
    check_filter(filter, FIELDS)
    asked = in_its_type(filter, FIELDS)
    if field == "price" and _beyond_exact(filter):
        return  # a double holds no such whole number, so neither does the field
    assert passes(asked, document) == passes(filter, document)
    assert passes(in_its_type(Not(filter), FIELDS), document) != passes(filter, document)
    for number in _numbers(asked):
        assert math.isfinite(number)
        assert field == "price" or (isinstance(number, int) and LEAST <= number <= MOST)


def _numbers(filter: Filter) -> list[Any]:
    match filter:
        case Term(_, value):
            return [value]
        case Terms(_, values):
            return list(values)
        case Range(_, gte, gt, lte, lt):
            return [bound for bound in (gte, gt, lte, lt) if bound is not None]
    return []


def _beyond_exact(filter: Filter) -> bool:
    return any(isinstance(one, int) and abs(one) > 2**53 for one in _numbers(filter))
