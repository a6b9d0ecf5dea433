"""Dates: what is read, the one text that it becomes, and what is refused with a reason."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.filters.dates import canonical, first_and_last, of_milliseconds

READ = [
    ("2024-05-01", "2024-05-01T00:00:00.000Z"),
    (" 2024-02-29 ", "2024-02-29T00:00:00.000Z"),
    ("2024-05-01T10:30", "2024-05-01T10:30:00.000Z"),
    ("2024-05-01 10:30:15", "2024-05-01T10:30:15.000Z"),
    ("2024-05-01t10:30:15z", "2024-05-01T10:30:15.000Z"),
    ("2024-05-01T10:30:15,5Z", "2024-05-01T10:30:15.500Z"),
    ("2024-05-01T10:30:15.123999999", "2024-05-01T10:30:15.123Z"),
    ("2024-05-01T01:30:00+02:00", "2024-04-30T23:30:00.000Z"),
    ("2024-12-31T23:30-0130", "2025-01-01T01:00:00.000Z"),
    ("2024-05-01T10:30:00-02", "2024-05-01T12:30:00.000Z"),
    ("0001-01-01", "0001-01-01T00:00:00.000Z"),
    ("9999-12-31T23:59:59.999", "9999-12-31T23:59:59.999Z"),
    (1_714_559_400_000, "2024-05-01T10:30:00.000Z"),
    (1_714_559_400_000.0, "2024-05-01T10:30:00.000Z"),
    ("1714559400000", "2024-05-01T10:30:00.000Z"),
    (date(2024, 5, 1), "2024-05-01T00:00:00.000Z"),
    (datetime(2024, 5, 1, 10, 30, 15, 123_999), "2024-05-01T10:30:15.123Z"),
    (datetime(2024, 5, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))), "2024-04-30T23:30:00.000Z"),
    (10_000, "1970-01-01T00:00:10.000Z"),
    (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
]


@pytest.mark.parametrize(("value", "text"), READ)
def test_a_date_becomes_one_text_in_utc_to_the_millisecond(value: Any, text: str) -> None:
    assert canonical(value) == canonical(text) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1.5.2024", "'1.5.2024' is no date; give a date, as in 2024-05-01, 2024-05-01T10:30:00Z or, in milliseconds"),
        ("2024", "is no date; give"),
        ("2024-05", "is no date; give"),
        ("20240501", "is no date; give"),
        ("1714559400", "is no date; give"),
        ("2024-W18-3", "is no date; give"),
        ("2024-05-01T24:00", "is no date; give"),
        ("2024-05-01T10:30:60", "is no date; give"),
        ("2024-05-01T10:30:00+24:00", "is no date; give"),
        ("２０２４-05-01", "is no date; give"),
        ("", "'' is no date; give"),
        ("2023-02-29", "'2023-02-29' is no date: day is out of range for month"),
        ("0000-01-01", "is no date: year 0 is out of range"),
        ("0001-01-01T00:00+01:00", "is outside of the years 1 to 9999 in UTC"),
        ("9" * 5_000, "milliseconds since 1970 are outside of the years 1 to 9999"),
        (253_402_300_800_000, "253402300800000 milliseconds since 1970 are outside of the years 1 to 9999"),
        (10**400, "are outside of the years 1 to 9999"),
        (2024, "2024 may be a year or milliseconds since 1970; give"),
        (-9_999, "may be a year"),
        (1.5, "is no whole number of milliseconds"),
        (float("inf"), "is no whole number of milliseconds"),
        (True, "True is no date"),
        (None, "None is no date"),
        (["2024-05-01"], "is no date"),
    ],
)
def test_what_is_no_date_is_refused_with_a_reason(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as refused:
        canonical(value)
    assert len(str(refused.value)) < 300


def test_a_day_in_a_filter_is_all_of_it_and_a_time_is_itself() -> None:
    assert first_and_last("2024-05-01") == ("2024-05-01T00:00:00.000Z", "2024-05-01T23:59:59.999Z")
    assert first_and_last(date(2024, 5, 1)) == first_and_last("2024-05-01")
    assert first_and_last(datetime(2024, 5, 1)) == ("2024-05-01T00:00:00.000Z",) * 2
    assert first_and_last("2024-05-01T00:00") == ("2024-05-01T00:00:00.000Z",) * 2
    assert first_and_last(1_714_521_600_000) == ("2024-05-01T00:00:00.000Z",) * 2


@given(
    st.lists(
        st.datetimes(
            datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.integers(-1_000, 1_000).map(
                lambda minutes: timezone(timedelta(minutes=minutes))
            )
        ), min_size=2, max_size=2,
    )
)  # fmt: skip
def test_texts_sort_as_the_moments_do(pair: list[datetime]) -> None:
    cut = [one.astimezone(UTC).replace(microsecond=one.microsecond // 1_000 * 1_000) for one in pair]
    texts = [canonical(one.isoformat()) for one in pair]
    assert (texts[0] < texts[1], texts[0] == texts[1]) == (cut[0] < cut[1], cut[0] == cut[1])
    since = [(one - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) for one in cut]
    assert [of_milliseconds(one) for one in since] == texts
