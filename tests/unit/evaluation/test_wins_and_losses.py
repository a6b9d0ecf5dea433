from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.protocol import EvaluationSettings, evaluate
from hybrid_search.evaluation.wins_and_losses import Answer, WinsAndLosses, as_json, example_rows, wins_and_losses
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Judgement, Query

# "automobile" is in no text, k-NN has d4 first; "kitten": BM25 has d2 alone, k-NN d1 behind it; "dog": both the same;
# "sleeps dog": BM25 has d5 first, and d3, where k-NN is sure, passes it in the hybrid.
QUERIES = {
    query.id: query
    for query in (
        Query("gain", "automobile"),
        Query("same", "dog"),
        Query("loss", "sleeps dog"),
        Query("more", "kitten"),
    )
}
JUDGEMENTS = [
    Judgement("gain", "d4", 1),
    Judgement("same", "d3", 1),
    Judgement("loss", "d5", 1),
    Judgement("more", "d1", 2),
    Judgement("more", "d5", 1),
]
LONG = Document("d0", "a car\n  " + "wheel " * 60, title="Cars")


@pytest.fixture
def retriever(tmp_path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
        yield retriever


def looked_at(retriever: Retriever, judgements=JUDGEMENTS, *, examples: int = 3, **settings) -> WinsAndLosses | None:
    evaluation = evaluate(
        retriever, QUERIES.values(), judgements, settings=EvaluationSettings(keep_runs=False, **settings)
    )
    return wins_and_losses(retriever, evaluation, QUERIES, qrels_of(judgements), examples=examples)


def test_wins_ties_and_losses_are_counted(retriever) -> None:
    found = looked_at(retriever)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)


def test_a_win_tells_where_the_answer_stands_in_each_leg(retriever) -> None:
    first = looked_at(retriever).largest_wins[0]
    assert (first.query_id, first.query, first.bm25, first.hybrid, first.change) == ("gain", "automobile", 0, 1, 1)
    assert first.answer == Answer("d4", 1, {"hybrid": 1, "bm25": None, "knn": 1}, "", "car")


def test_of_several_answers_the_one_that_moved_most_is_shown(retriever) -> None:
    second = looked_at(retriever).largest_wins[1]
    assert (second.query_id, second.answer.id, second.answer.grade) == ("more", "d1", 2)
    assert second.answer.ranks == {"hybrid": 2, "bm25": None, "knn": 2}


def test_a_loss_is_told_alike(retriever) -> None:
    (loss,) = looked_at(retriever).largest_losses
    assert loss.query_id == "loss"
    # nDCG@10 of a single answer at rank 2: 1 / log2(3).
    assert (loss.bm25, loss.hybrid) == (1, pytest.approx(0.6309, abs=1e-4))
    assert loss.answer.ranks == {"hybrid": 2, "bm25": 1, "knn": None}


def test_no_more_examples_are_looked_at_than_asked_for(retriever) -> None:
    found = looked_at(retriever, examples=1)
    assert [example.query_id for example in found.largest_wins] == ["gain"]
    none = looked_at(retriever, examples=0)
    assert (none.wins, none.largest_wins, none.largest_losses) == (2, (), ())


def test_an_answer_that_no_leg_finds_down_to_the_depth_has_no_rank(retriever) -> None:
    (loss,) = looked_at(retriever, depth=1).largest_losses
    assert loss.answer.ranks["hybrid"] is None


def test_long_texts_are_cut_and_white_space_is_folded(retriever) -> None:
    retriever.add([LONG])
    (win,) = looked_at(retriever, [Judgement("gain", "d0", 1)]).largest_wins
    assert win.answer.title == "Cars"
    assert win.answer.snippet.startswith("a car wheel wheel")
    assert (len(win.answer.snippet), win.answer.snippet[-1]) == (160, "…")


def test_json_has_counts_and_examples(retriever) -> None:
    report = json.loads(json.dumps(as_json(looked_at(retriever))))
    assert [report[name] for name in ("measure", "wins", "ties", "losses")] == ["nDCG@10", 2, 1, 1]
    assert list(report["examples"]) == ["wins", "losses"]
    assert set(report["examples"]["wins"][0]) == {"query_id", "query", "bm25", "hybrid", "change", "answer"}
    assert report["examples"]["wins"][0]["answer"]["ranks"] == {"hybrid": 1, "bm25": None, "knn": 1}


def test_rows_show_what_a_person_reads(retriever) -> None:
    header, first, *others = example_rows(looked_at(retriever))
    assert header[1:4] == ("query", "BM25", "hybrid")
    assert first == ("win", "automobile", "0.000", "1.000", "none", "1", "1", "[d4] car")
    assert [row[0] for row in others] == ["win", "loss"]


def test_without_towers_there_is_nothing_to_compare(tmp_path) -> None:
    with Retriever(None, EmbeddedEngine.create(tmp_path / "plain", IndexSettings())) as retriever:
        retriever.add(PETS[:1])
        assert looked_at(retriever, [Judgement("same", "d1", 1)]) is None
