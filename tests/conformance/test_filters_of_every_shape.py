"""Whatever shape a filter has, both engines let through what reading it word by word lets through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from asked import by_both, by_text, by_vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Document

METADATA: list[Mapping[str, Any]] = [
    {"tenant": "acme", "year": 2001, "price": 9.5, "open": True},
    {"tenant": "globex", "year": 2002, "price": 10.0, "open": False},
    {"tenant": ("acme", "globex"), "year": 2003},
    {"tenant": "initech", "price": 0.0},
    {"year": -1, "open": True},
    {},
    {"year": 2**63 - 1, "price": -0.0},
    {"year": -(2**63), "price": 1e300},
    {"year": 0, "price": 7},
]
DOCUMENTS = [Document(f"d{number}", "salaries", metadata=metadata) for number, metadata in enumerate(METADATA)]
VECTORS = np.array([[1, number / 10] for number in range(len(DOCUMENTS))], np.float32)
EVERYTHING = {document.id for document in DOCUMENTS}


def fits(filter: Filter, document: Document) -> bool:
    """Read a filter as its words say: any of a field's values may fit, and a field without a value fits nothing."""
    match filter:
        case And(parts):
            return all(fits(part, document) for part in parts)
        case Or(parts):
            return any(fits(part, document) for part in parts)
        case Not(part):
            return not fits(part, document)
        case Exists(field):
            return field in document.metadata
    held = document.metadata.get(filter.field, ())
    values = held if isinstance(held, tuple) else (held,)
    match filter:
        case Term(_, wanted):
            return wanted in values
        case Terms(_, several):
            return any(value in several for value in values)
        case Range(_, gte, gt, lte, lt):
            return any(
                (gte is None or value >= gte)
                and (gt is None or value > gt)
                and (lte is None or value <= lte)
                and (lt is None or value < lt)
                for value in values
            )
    raise AssertionError(filter)


# Of another type than the field, between what it holds, or beyond it.
OTHER_NUMBERS = st.sampled_from(
    [
        *(2001.0, 2001.5, -0.5, -1.0, 9.500001, 5e-324, 2.0**63, 1e19, -1e19, float("inf"), float("-inf")),
        *(2**63, -(2**63) - 1, 2**64, 10**400, -(10**400)),
    ]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tenant": st.sampled_from(["acme", "globex", "initech", "nobody", ""]),
    "year": st.sampled_from([-1, 0, 2001, 2002, 2003, 2**62, 2**63 - 1, -(2**63)]) | OTHER_NUMBERS,
    "price": st.sampled_from([0.0, -0.0, 0, 9.5, 10.0, 10, 9.99, 7, 1e300]) | OTHER_NUMBERS,
    "open": st.booleans(),
}
BOUNDS = ("gte", "gt", "lte", "lt")


@st.composite
def leaves(draw: st.DrawFn) -> Filter:
    field = draw(st.sampled_from(list(VALUES)))
    value = VALUES[field]
    kinds = [
        value.map(lambda one: Term(field, one)),
        st.lists(value, max_size=3).map(lambda several: Terms(field, tuple(several))),
        st.just(Exists(field)),
    ]
    if field != "open":
        bounds = st.dictionaries(st.sampled_from(BOUNDS), value, min_size=1, max_size=2)
        kinds.append(bounds.map(lambda given: Range(field, **given)))
    return draw(st.one_of(kinds))


def joined(parts: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(parts, max_size=4).map(tuple)
    return st.one_of(several.map(And), several.map(Or), parts.map(Not))


FILTERS = st.recursive(leaves(), joined, max_leaves=8)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    assert engine.add(DOCUMENTS, VECTORS) == []
    engine.commit()
    return engine


def found(engine: Engine, filter: Filter | None) -> dict[str, set[str]]:
    """Ask in every way that takes a filter."""
    query = VECTORS[:1]
    hybrid = by_both(engine, ["salaries"], query, 10, fusion=Fusion(), filter=filter)[0]
    return {
        "bm25": set(by_text(engine, ["salaries"], 10, filter)[0].ids),
        "knn": set(by_vector(engine, query, 10, filter)[0].ids),
        "hybrid": {hit.id for hit in hybrid},
    }


def in_all_ways(ids: set[str]) -> dict[str, set[str]]:
    return {"bm25": ids, "knn": ids, "hybrid": ids}


NOTHING: set[str] = set()


@pytest.mark.parametrize(
    ("filter", "right"),
    [
        (Or(()), NOTHING),
        (And(()), EVERYTHING),
        (Not(Or(())), EVERYTHING),
        (Not(And(())), NOTHING),
        (Terms("tenant", ()), NOTHING),
        (Not(Terms("tenant", ())), EVERYTHING),
        (Or((Or(()), Terms("year", ()))), NOTHING),
        (Or((Or(()), Term("tenant", "acme"))), {"d0", "d2"}),
        (And((And(()), Term("tenant", "acme"))), {"d0", "d2"}),
        (And((Or(()), Term("tenant", "acme"))), NOTHING),
        (Or((And(()), Term("tenant", "acme"))), EVERYTHING),
        (And((Not(Or(())), Not(Not(Or((Terms("tenant", ()), Term("year", 2001))))))), {"d0"}),
        (Or(tuple(Term("tenant", tenant) for tenant in [])), NOTHING),
        (Or(Term("tenant", tenant) for tenant in ["acme"]), {"d0", "d2"}),  # type: ignore[arg-type]
        (And(Term("tenant", tenant) for tenant in ["acme"]), {"d0", "d2"}),  # type: ignore[arg-type]
    ],
    ids=lambda value: f"finds {' '.join(sorted(value))}" if isinstance(value, set) else repr(value),
)
def test_an_empty_condition_is_read_as_logic_reads_it(filled: Engine, filter: Filter, right: set[str]) -> None:
    # None of no conditions holds; all of no conditions do.
    assert {document.id for document in DOCUMENTS if fits(filter, document)} == right
    assert found(filled, filter) == in_all_ways(right)


def test_any_filter_lets_through_what_reading_it_word_by_word_does(filled: Engine) -> None:
    @given(FILTERS)
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(filter: Filter) -> None:
        right = {document.id for document in DOCUMENTS if fits(filter, document)}
        assert found(filled, filter) == in_all_ways(right)

    holds()


def test_many_values_of_one_field_joined_by_or_are_one_list(filled: Engine) -> None:
    many = Or(tuple(Term("year", year) for year in range(2_000, 5_000)))
    assert found(filled, many) == in_all_ways({"d0", "d1", "d2"})
    mixed = Or((many, Terms("tenant", ("initech",)), Or((Term("year", -1),))))
    assert found(filled, mixed) == in_all_ways({"d0", "d1", "d2", "d3", "d4"})
    too_many_for_one_list = Terms("year", tuple(range(2_002, 90_000)))
    assert found(filled, too_many_for_one_list) == in_all_ways({"d1", "d2"})


def test_what_is_no_tree_of_filters_is_refused(filled: Engine) -> None:
    for wrong, message in (
        (Or((Term("tenant", "acme"), None)), "None is no filter"),
        (Not("acme"), "'acme' is no filter"),
    ):
        with pytest.raises(FilterError, match=message):
            by_text(filled, ["salaries"], 5, wrong)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="values is 'acme'; give a tuple"):
        Terms("tenant", "acme")  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="filters is an object of type Term"):
        Or(Term("tenant", "acme"))  # type: ignore[arg-type]
    deep: Filter = Term("tenant", "acme")
    for _ in range(3_000):
        deep = Not(deep)
    with pytest.raises(FilterError, match="nested more than 100 levels"):
        by_text(filled, ["salaries"], 5, deep)
