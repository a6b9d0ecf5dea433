"""What an index says of its standing behind an alias."""

from __future__ import annotations

import pytest

from hybrid_search.engines.opensearch.index.meta import Mark, marked, next_name, number_of, read_mark


def test_a_mark_comes_back_from_the_meta_and_leaves_the_rest_of_it_alone() -> None:
    mark = Mark(alias="passages", source="jsonl ./data", history=("passages-000001",))
    meta = marked({"hybrid_search": {"dimension": 4}, "other": 1}, mark)
    assert read_mark(meta) == mark
    assert (meta["hybrid_search"], meta["other"]) == ({"dimension": 4}, 1)


@pytest.mark.parametrize("meta", [{}, {"alias": "text"}, {"alias": {"alias": "p", "state": "on fire"}}, {"alias": {}}])
def test_no_mark_and_one_that_cannot_be_read_are_none(meta: dict[str, object]) -> None:
    assert read_mark(meta) is None


def test_who_takes_over_remembers_who_was_live_before_and_before_that() -> None:
    mark = Mark(alias="p").after("p-000003", ("p-000002", "p-000001"))
    assert (mark.state, mark.history) == ("ready", ("p-000003", "p-000002", "p-000001"))
    assert Mark(alias="p").after(None, ()).history == ()


def test_the_history_is_bounded() -> None:
    older = tuple(f"p-{number:06}" for number in range(50, 0, -1))
    assert Mark(alias="p").after("p-000051", older).history == ("p-000051", *older[:19])


def test_the_first_time_live_counts() -> None:
    mark = Mark(alias="p").live_from("2026-11-21T10:00:00+00:00").live_from("2026-11-22T10:00:00+00:00")
    assert mark.went_live == "2026-11-21T10:00:00+00:00"


def test_numbers_go_on_after_the_highest_whatever_else_there_is() -> None:
    assert next_name("p", []) == "p-000001"
    assert next_name("p", ["p-000001", "p-000007", "p-old", "q-000009", "p-12", "towers-abc"]) == "p-000008"
    assert next_name("p", ["p-999999"]) == "p-1000000"
    assert next_name("p.x", ["pyx-000005"]) == "p.x-000001"


def test_a_name_of_another_form_has_no_number() -> None:
    assert number_of("p-000012", "p") == 12
    assert [number_of(name, "p") for name in ("p", "p-12", "p-000012-x", "q-000012")] == [None] * 4
