"""Dates on every engine alike: held as one text, compared as moments, counted by value, refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asked import by_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
from hybrid_search.filters.parser import parse_filter
from hybrid_search.protocols import Engine
from hybrid_search.search import Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Matches

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    datetime(2024, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
]
WRITTEN: list[Mapping[str, Any]] = [
    {"day": "0001-01-01"},
    {"day": "1969-12-31T23:59:59.999999Z"},
    {"day": ("1970-01-01T00:00:00.5+00:00", "1970-01-01T00:00:00.500Z")},
    {"day": "2024-02-29T00:59:59.999+01:00"},
    {"day": "2024-02-29"},
    {"day": 1_709_209_800_000},
    {"day": ("2024-03-01 00:00", "2024-02-29T12:30:00Z")},
    {"day": "9999-12-31T23:59:59.999"},
    {},
]
HELD = [
    {"day": "0001-01-01T00:00:00.000Z"},
    {"day": "1969-12-31T23:59:59.999Z"},
    {"day": ("1970-01-01T00:00:00.500Z", "1970-01-01T00:00:00.500Z")},
    {"day": "2024-02-28T23:59:59.999Z"},
    {"day": "2024-02-29T00:00:00.000Z"},
    {"day": "2024-02-29T12:30:00.000Z"},
    {"day": ("2024-03-01T00:00:00.000Z", "2024-02-29T12:30:00.000Z")},
    {"day": "9999-12-31T23:59:59.999Z"},
    {},
]
DATES: list[set[datetime]] = [{one} for one in MOMENTS]
DATES[6].add(MOMENTS[5])
DATES.append(set())
DOCUMENTS = [Document(f"d{number}", "salaries", metadata=metadata) for number, metadata in enumerate(WRITTEN)]
VECTORS = np.ones((len(DOCUMENTS), 2), np.float32)
SETTINGS = IndexSettings(dimension=2, fingerprint="towers", fields={"day": "date"})


@pytest.fixture
def dated(make_engine) -> Engine:
    engine = make_engine(SETTINGS)
    assert engine.add(DOCUMENTS, VECTORS) == []
    engine.commit()
    return engine


def found(engine: Engine, filter: Filter | str) -> set[str]:
    chosen = parse_filter(filter) if isinstance(filter, str) else filter
    return set(by_text(engine, ["salaries"], 20, chosen)[0].ids)


def test_what_was_written_in_any_form_is_held_and_given_back_as_one_text(dated: Engine) -> None:
    held = [Document(one.id, one.text, metadata=metadata) for one, metadata in zip(DOCUMENTS, HELD, strict=True)]
    assert dated.get([one.id for one in DOCUMENTS]) == held
    assert sorted(dated.documents(), key=lambda one: one.id) == held
    [hits] = dated.search(Search.of(["salaries"], 20, "bm25"))
    assert {hit.id: hit.metadata for hit in hits} == {one.id: one.metadata for one in held}
    assert dated.settings.fields == {"day": "date"}


@pytest.mark.parametrize(
    ("filter", "right"),
    [
        ("day = 2024-02-29", {"d4", "d5", "d6"}),
        ("day = 2024-02-29T00:00", {"d4"}),
        ("day >= 2024-02-29", {"d4", "d5", "d6", "d7"}),
        ("day > 2024-02-29", {"d6", "d7"}),
        ("day <= 2024-02-29 and day > 1970-01-01", {"d3", "d4", "d5", "d6"}),
        ("day < 2024-02-29", {"d0", "d1", "d2", "d3"}),
        ("day < 1970-01-01T00:00:00.500Z", {"d0", "d1"}),
        ("day > -1 and day <= 10000", None),
        ("day in (0001-01-01, 2024-02-29T13:30+01:00, 2030-01-01)", {"d0", "d5", "d6"}),
        ("day != 2024-02-29", {"d0", "d1", "d2", "d3", "d7", "d8"}),
        ("exists(day)", {f"d{number}" for number in range(8)}),
    ],
)
def test_a_filter_in_words_finds_what_a_calendar_says(dated: Engine, filter: str, right: set[str] | None) -> None:
    if right is None:
        with pytest.raises(Exception, match="'day' is date, so it compares with a date"):
            found(dated, filter)
    else:
        assert found(dated, filter) == right


# A value of a filter, and the first and the last moment that it stands for.
def _day(moment: datetime) -> tuple[Any, datetime, datetime]:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    last = moment.replace(hour=23, minute=59, second=59, microsecond=999_000)
    return start.date().isoformat(), start, last


def _written(moment: datetime) -> list[tuple[Any, datetime, datetime]]:
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    forms: list[tuple[Any, datetime, datetime]] = [(moment.isoformat(), moment, moment), _day(moment)]
    return [*forms, (milliseconds, moment, moment)] if abs(milliseconds) > 9_999 else forms


NEAR = [moment + timedelta(milliseconds=step) for moment in MOMENTS[1:-1] for step in (-1, 0, 1)]
VALUES = st.sampled_from([form for moment in (*NEAR, MOMENTS[0], MOMENTS[-1]) for form in _written(moment)])


@st.composite
def leaves(draw: st.DrawFn) -> tuple[Filter, set[str]]:
    """Draw a filter, and what it finds by comparing moments."""
    kind = draw(st.sampled_from(["term", "terms", "range", "exists"]))
    values = draw(st.lists(VALUES, min_size=1, max_size=3))
    if kind == "exists":
        return Exists("day"), {one.id for one, dates in zip(DOCUMENTS, DATES, strict=True) if dates}
    if kind == "range":
        bounds = dict(zip(draw(st.permutations(["gte", "gt", "lte", "lt"])), values[:2], strict=False))
        return Range("day", **{name: value for name, (value, _, _) in bounds.items()}), {
            one.id
            for one, dates in zip(DOCUMENTS, DATES, strict=True)
            if any(all(_holds(date, name, *bound[1:]) for name, bound in bounds.items()) for date in dates)
        }
    values = values[:1] if kind == "term" else values
    right = {
        one.id
        for one, dates in zip(DOCUMENTS, DATES, strict=True)
        if any(first <= date <= last for date in dates for _, first, last in values)
    }
    return (Term("day", values[0][0]) if kind == "term" else Terms("day", tuple(one for one, _, _ in values))), right


def _holds(date: datetime, name: str, first: datetime, last: datetime) -> bool:
    return {"gte": date >= first, "gt": date > last, "lte": date <= last, "lt": date < first}[name]


def test_any_filter_over_dates_finds_what_comparing_moments_finds(dated: Engine) -> None:
    everything = {one.id for one in DOCUMENTS}

    @given(st.lists(leaves(), min_size=1, max_size=3), st.sampled_from([And, Or]), st.booleans())
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(parts: list[tuple[Filter, set[str]]], join: Any, negated: bool) -> None:
        of_parts = [right for _, right in parts]
        right = set.intersection(*of_parts) if join is And else set.union(*of_parts)
        joined: Filter = join(tuple(one for one, _ in parts))
        assert found(dated, Not(joined) if negated else joined) == (everything - right if negated else right)

    holds()


def test_dates_are_counted_by_their_text_most_first_then_earliest_first(dated: Engine) -> None:
    [matches] = dated.matches(Search.of(["salaries"], 1, "bm25", filter="day >= 1970-01-01"), ["day"])
    counts = {
        "2024-02-29T12:30:00.000Z": 2,
        "1970-01-01T00:00:00.500Z": 1,
        "2024-02-28T23:59:59.999Z": 1,
        "2024-02-29T00:00:00.000Z": 1,
        "2024-03-01T00:00:00.000Z": 1,
        "9999-12-31T23:59:59.999Z": 1,
    }
    assert matches == Matches(6, {"day": counts})
    assert list(matches.facets["day"]) == list(counts)


def test_documents_of_passages_are_counted_by_their_dates(make_engine) -> None:
    engine = make_engine(SETTINGS)
    pages = [
        Document(
            f"{of}#p{number}",
            "salaries",
            metadata={"passage_of": of, "passage": number, "passages": 2, "day": 1_709_209_800_000},
        )
        for of in ("a", "b")
        for number in (1, 2)
    ]
    assert engine.add(pages, np.ones((4, 2), np.float32)) == []
    engine.commit()
    [matches] = engine.matches(Search.of(["salaries"], 1, "bm25", group=3), ["day"])
    assert matches == Matches(2, {"day": {"2024-02-29T12:30:00.000Z": 2}})


def test_a_bad_date_refuses_its_document_alone_and_a_better_one_takes_its_place(dated: Engine) -> None:
    batch = [
        Document("bad", "salaries", metadata={"day": "29.2.2024"}),
        Document("good", "salaries", metadata={"day": date(2031, 1, 1)}),  # type: ignore[dict-item]
        Document("year", "salaries", metadata={"day": 2024}),
        Document("one-of-two", "salaries", metadata={"day": ("2024-01-01", "never")}),
        Document("d0", "salaries", metadata={"day": "2031-01-01T12:00"}),
        Document("late", "salaries", metadata={"day": "9999-12-31T23:59:59-01:00"}),
    ]
    refused = dated.add(batch, np.ones((6, 2), np.float32))
    assert [(one.field, one.reason) for one in refused] == [
        ("day", f"day {told}")
        for told in (
            f"'29.2.2024' is no date; {GIVE}",
            f"2024 may be a year or milliseconds since 1970; {GIVE}",
            f"'never' is no date; {GIVE}",
            "'9999-12-31T23:59:59-01:00' is outside of the years 1 to 9999 in UTC",
        )
    ]
    dated.commit()
    assert found(dated, "day >= 2030-01-01") == {"good", "d0", "d7"}
    assert found(dated, "day < 0002-01-01") == set()


GIVE = "give a date, as in 2024-05-01, 2024-05-01T10:30:00Z or, in milliseconds since 1970, 1714559400000"


def test_a_field_that_nobody_declared_is_no_date(make_engine) -> None:
    engine = make_engine(IndexSettings(dimension=2, fingerprint="towers"))
    assert engine.add([Document("a", "salaries", metadata={"day": "2024-02-29"})], np.ones((1, 2), np.float32)) == []
    engine.commit()
    assert engine.settings.fields == {"day": "keyword"}
    assert engine.get(["a"]) == [Document("a", "salaries", metadata={"day": "2024-02-29"})]
    assert found(engine, "day < 2024-03") == {"a"}
