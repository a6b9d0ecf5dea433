"""Clicks and judgements of a log become grades; lines that are neither are told and left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_search.errors import DataError, UsageError
from hybrid_search.loaders.labels import LabelRules, Labels, labels_of
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loaders.use_log import read_use_log
from hybrid_search.training.labels import write_labels
from hybrid_search.types import Judgement, Query, Rejection

SHOWN = ["a", "b", "c", "d", "e"]


def labelled(folder: Path, *records: Any, rules: LabelRules | None = None, **options: Any) -> Labels:
    refused: list[Rejection] = []
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    log = read_use_log([folder / "log.jsonl"], refused.append, **options)
    assert not refused
    return labels_of(log, rules)


def grades(labels: Labels) -> dict[str, int]:
    return {one.document_id: one.grade for one in labels.judgements}


def searched(*clicked: str, query: str = "sharp knife", client: str = "", shown: list[str] = SHOWN) -> dict[str, Any]:
    return {"query": query, "shown": shown, "clicked": clicked} | ({"client": client} if client else {})


def test_a_click_far_down_counts_more_than_one_on_top(tmp_path: Path) -> None:
    # Of 30 who saw this, 12 clicked the first, 4 the third and 4 the fifth: 12 / 30, 4 x 3 / 30 and 4 x 5 / 30, so the
    # fifth is the best and the others are at .6 of it. By plain clicks the first is best and the others at a third.
    log = [*[searched("a")] * 12, *[searched("c")] * 4, *[searched("e")] * 4, *[searched()] * 10]
    assert grades(labelled(tmp_path, *log)) == {"a": 2, "c": 2, "e": 3}
    assert grades(labelled(tmp_path, *log, rules=LabelRules(eta=0))) == {"a": 3, "c": 1, "e": 1}


def test_documents_that_are_looked_at_by_rank_and_liked_alike_get_the_same_grade(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    relevance = {
        "a": 0.6,
        "b": 0.1,
        "c": 0.6,
        "d": 0.25,
        "e": 0.6,
    }  # by the position-based model, looks fall as 1 / rank
    log = [
        searched(*(id for rank, id in enumerate(SHOWN, 1) if generator.random() < relevance[id] / rank))
        for _ in range(4_000)
    ]
    assert grades(labelled(tmp_path, *log)) == {"a": 3, "b": 1, "c": 3, "d": 2, "e": 3}


def test_a_document_that_was_shown_to_few_is_measured_by_these(tmp_path: Path) -> None:
    log = [*[searched("a", shown=["a"])] * 4, *[searched("b", shown=["b", "x"])] * 2, *[searched(shown=["a"])] * 4]
    assert grades(labelled(tmp_path, *log)) == {"a": 2, "b": 3}  # 4 of 8, and 2 of 2


def test_one_person_counts_once_however_often_they_click(tmp_path: Path) -> None:
    log = [*[searched("e", client="bot")] * 1_000, searched("a", client="x"), searched("a", client="y")]
    labels = labelled(tmp_path, *log)
    assert grades(labels) == {"a": 3}
    assert (labels.searches, labels.clicks, labels.too_few) == (1_002, 3, 1)


def test_a_click_weighs_no_more_than_the_cap(tmp_path: Path) -> None:
    shown = [f"d{rank}" for rank in range(1, 101)]
    log = [*[searched("d100", shown=shown)] * 2, *[searched("d10", shown=shown)] * 2]
    assert grades(labelled(tmp_path, *log)) == {"d10": 3, "d100": 3}
    assert grades(labelled(tmp_path, *log, rules=LabelRules(cap=1_000))) == {"d10": 1, "d100": 3}


def test_judgements_count_more_than_clicks_and_the_last_one_stays(tmp_path: Path) -> None:
    judged = [{"query": "Sharp  Knife", "document": id, "grade": grade} for id, grade in (("a", 3), ("a", 0), ("z", 2))]
    labels = labelled(tmp_path, *[searched("a", "b")] * 2, *judged)
    assert grades(labels) == {"a": 0, "b": 3, "z": 2}
    assert [query.text for query in labels.queries] == ["sharp knife"]  # texts that differ in case and spaces are one


def test_a_click_on_what_was_not_shown_is_counted_and_left_out(tmp_path: Path) -> None:
    searches = [searched("a", "zz", client=client) for client in ("x", "y")]
    entries = [{**UBI_QUERY, "query_id": id, "client_id": id} for id in ("s1", "s2")]
    further = {"object": {"object_id": "on-page-2"}, "position": {"ordinal": 12}}
    events = [ubi_event(id, "zz") for id in ("s1", "s2")]
    events += [{**ubi_event(id, "zz"), "event_attributes": further} for id in ("s1", "s2")]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*searches, *entries, *events]))
    log = read_use_log([tmp_path / "log.jsonl"], print)
    assert log.not_shown == 4
    assert [one.document for one in log.clicks] == ["a", "a", "on-page-2", "on-page-2"]
    assert grades(labels_of(log)).keys() == {"a", "on-page-2"}


UBI_QUERY = {
    "query_id": "s1", "user_query": "sharp knife", "client_id": "c1", "timestamp": "2026-11-30T21:00:00Z",
    "object_id_field": "id", "query_response_hit_ids": SHOWN, "application": "shop",
}  # fmt: skip


def ubi_event(search: str, document: str, action: str = "click", **more: Any) -> dict[str, Any]:
    attributes = {"object": {"object_id": document, "object_id_field": "id"}, "position": {"ordinal": 2}}
    return {"action_name": action, "query_id": search, "client_id": "c1", "event_attributes": attributes, **more}


def test_ubi_is_read_in_any_order_bare_and_as_a_search_returns_it(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = []
    for number in range(2):
        entries.append({"_index": "ubi_events", "_id": "1", "_source": ubi_event(f"s{number}", "e")})
        entries.append({**UBI_QUERY, "query_id": f"s{number}", "client_id": f"c{number}"})
        entries.append(ubi_event(f"s{number}", "a", "item_hover"))
        entries.append(ubi_event(f"s{number}", "a", "purchase"))
    labels = labelled(tmp_path, *entries)
    assert grades(labels) == {"e": 3}
    bought = labelled(tmp_path, *entries, actions=("click", "purchase"))
    assert grades(bought) == {"a": 1, "e": 3}  # ranks 1 and 5


def test_an_event_of_a_search_that_was_not_logged_says_itself_what_was_asked_or_is_counted(tmp_path: Path) -> None:
    events = [ubi_event(f"s{i}", "b", user_query="sharp knife", client_id=f"c{i}") for i in range(2)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in [*events, ubi_event("s9", "b")]))
    log = read_use_log([path], print)
    assert log.unmatched == 1
    assert [(one.query, one.rank) for one in log.clicks] == [("sharp knife", 2)] * 2
    assert grades(labels_of(log)) == {"b": 3}


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("{", "", "not JSON"),
        ("[1]", "", "not a JSON object"),
        ("{}", "", "neither a search"),
        ('{"_source": {"took": 3}}', "", "neither a search"),
        ('{"query": 7}', "query", "not text"),
        ('{"query": " "}', "query", "missing or blank|not text|blank"),
        (json.dumps({"query": "x" * 1_001}), "query", "longer than 1,000 characters"),
        ('{"query": "q", "shown": "a"}', "shown", "not a list"),
        ('{"query": "q", "shown": [1]}', "shown", "not text"),
        ('{"query": "q", "clicked": ["a\\tb"]}', "clicked", "control character"),
        ('{"query": "q", "clicked": ["' + "x" * 600 + '"]}', "clicked", "512"),
        (json.dumps({"query": "q", "shown": ["a"] * 10_001}), "shown", "at most 10,000 ids"),
        ('{"query": "q", "document": "a", "grade": 1.5}', "grade", "not a whole number"),
        ('{"query": "q", "document": "a", "grade": -1}', "grade", "not a whole number"),
        ('{"query": "q", "grade": 1}', "document", "not text"),
        ('{"action_name": 3}', "action_name", "not text"),
        ('{"action_name": "click", "query_id": "s"}', "event_attributes.object.object_id", "not text"),
        ('{"action_name": "click", "event_attributes": []}', "query_id", "missing"),
        ('{"user_query": "q"}', "query_id", "missing"),
        ('{"query": "\\ud800"}', "", "no valid Unicode: a lone surrogate"),
        ("[" * 100_000, "", "not JSON"),
    ],
)
def test_a_line_that_is_none_is_rejected_and_the_rest_counts(
    tmp_path: Path, line: str, field: str, reason: str
) -> None:
    refused: list[Rejection] = []
    whole = json.dumps(searched("a"))
    (tmp_path / "log.jsonl").write_text(f"{whole}\n{line}\n{whole}\n")
    log = read_use_log([tmp_path / "log.jsonl"], refused.append)
    [one] = refused
    assert one.line == 2
    assert one.field in field.split("|")
    assert any(part in one.reason for part in reason.split("|"))
    assert grades(labels_of(log)) == {"a": 3}


def test_a_log_without_enough_clicks_gives_nothing(tmp_path: Path) -> None:
    labels = labelled(tmp_path, searched("a"), searched("b"), searched())
    assert (labels.queries, labels.judgements, labels.too_few) == ([], [], 2)


def test_labels_become_a_split_of_the_data_set_whose_queries_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text("".join(f'{{"id": "{id}", "text": "text {id}"}}\n' for id in SHOWN))
    (tmp_path / "queries.jsonl").write_text('{"id": "q7", "text": "Sharp knife"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq7\ta\t1\n")
    queries = [Query("q-1", "sharp knife"), Query("q-2", "blunt knife")]
    for grade in (1, 2):
        write_labels(tmp_path, "clicks", queries, [Judgement("q-1", "b", grade), Judgement("q-2", "c", 3)])
    data = open_dataset("jsonl", tmp_path, reject=print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents.jsonl", "qrels", "queries.jsonl"]
    assert data.splits() == ("test", "clicks")
    assert [(query.id, query.text) for query in data.queries("clicks")] == [
        ("q7", "Sharp knife"),
        ("q-2", "blunt knife"),
    ]
    assert list(data.judgements("clicks")) == [Judgement("q7", "b", 2), Judgement("q-2", "c", 3)]
    assert list(data.judgements("test")) == [Judgement("q7", "a", 1)]


@pytest.mark.parametrize("split", ["", "..", "a/b", ".hidden"])
def test_a_split_that_is_no_name_of_a_file_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(UsageError, match="it must be a name that a file can have"):
        write_labels(tmp_path / "new", split, [], [])
    assert not (tmp_path / "new").exists()


def test_queries_that_cannot_be_added_to_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"id": "q7", "text": "Sharp knife"}\n{broken\n')
    with pytest.raises(DataError, match=r"queries.jsonl, line 2: no query"):
        write_labels(tmp_path, "clicks", [Query("q-1", "x")], [])
    (tmp_path / "queries.jsonl").rename(tmp_path / "queries.csv")
    with pytest.raises(UsageError, match=r"has its queries in queries.csv"):
        write_labels(tmp_path, "clicks", [Query("q-1", "x")], [])
