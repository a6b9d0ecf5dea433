"""Queries that are documents themselves: BEIR leaves each out of its own ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.protocol import EvaluationSettings, evaluate, own_documents, without_own
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.training.negatives.miner import Miner
from hybrid_search.types import Document, Example, Judgement, Query, Ranking

# Each argument is a document, and a query for its counter-argument, which has one word in common with it.
ARGUMENTS = (
    Document("a-pro", "quiet cat"),
    Document("a-con", "cat cat ignores burglars"),
    Document("b-pro", "dog guards"),
    Document("b-con", "dog dog barks nightly"),
)
QUERIES = tuple(Query(one.id, one.text) for one in ARGUMENTS if one.id.endswith("pro"))
JUDGED = (Judgement("a-pro", "a-con", 1), Judgement("b-pro", "b-con", 1))


@pytest.fixture
def retriever(tmp_path: Path):
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(ARGUMENTS)
        yield retriever


def test_every_system_finds_the_answer_first_once_the_query_itself_is_left_out(retriever: Retriever) -> None:
    settings = EvaluationSettings(depth=1)
    evaluation = evaluate(retriever, QUERIES, JUDGED, settings=settings, untrained=AxisEncoder("plain"))
    for system in ("bm25", "untrained", "knn", "hybrid"):
        assert {query: ranking.ids for query, ranking in evaluation.runs[system].items()} == {
            "a-pro": ("a-con",),
            "b-pro": ("b-con",),
        }, system
    assert all("a-pro" not in run["a-pro"].ids for run in evaluation.runs.values())
    assert evaluation.counts.identical == 2


def test_kept_on_request_it_stands_first(retriever: Retriever) -> None:
    evaluation = evaluate(retriever, QUERIES, JUDGED, settings=EvaluationSettings(keep_identical=True))
    assert evaluation.runs["bm25"]["a-pro"].ids[0] == "a-pro"
    assert evaluation.means["bm25"]["RR@10"] == pytest.approx(0.5)
    assert evaluation.counts.identical == 0


def get(documents: Sequence[Document]):
    known = {document.id: document for document in documents}
    return lambda ids: [known.get(id) for id in ids]


def test_ids_that_are_alike_by_chance_make_no_query_a_document() -> None:
    numbered = [Document("1", "rivers of ice"), Document("2", "honey and bees")]
    queries = [Query("1", "who keeps bees"), Query("2", "how fast flows ice")]
    assert own_documents(queries, {"1": {"2": 1}, "2": {"1": 1}}, get(numbered)) == frozenset()


def test_a_document_that_is_told_to_answer_the_query_of_its_id_stays() -> None:
    documents = [Document("1", "rivers of ice"), Document("2", "honey and bees")]
    queries = [Query("1", "rivers of ice"), Query("2", "honey and bees")]
    assert own_documents(queries, {"1": {"1": 1}, "2": {"2": 1}}, get(documents)) == frozenset()
    assert own_documents(queries, {"1": {"2": 1}, "2": {"1": 1}}, get(documents)) == {"1", "2"}


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.sampled_from("abcdefgh"), st.integers(1, 8))
def test_what_is_left_is_the_ranking_without_the_query_in_the_same_order_and_as_deep(
    ids: list[str], query: str, depth: int
) -> None:
    deeper = ids[: depth + 1]
    ranking = Ranking(tuple(deeper), tuple(float(-place) for place in range(len(deeper))))
    (left,) = without_own([Query(query, "")], [ranking], frozenset({query}), depth)
    assert list(left.ids) == [id for id in ids if id != query][:depth]
    assert list(left.scores) == sorted(left.scores, reverse=True)


def test_a_query_that_is_a_document_is_no_negative_of_itself() -> None:
    documents = {one.id: one for one in ARGUMENTS}
    miner = Miner(
        lambda texts, k: [Ranking(("a-pro", "a-con", "b-pro"), (3.0, 2.0, 1.0))] * len(texts),
        lambda ids: [documents.get(id) for id in ids],
        rank_window=(1, 10),
        false_negative_margin=0.0,
    )
    (mined,) = miner.mine([Example(QUERIES[0], ARGUMENTS[1])])
    assert [negative.id for negative in mined.negatives] == ["b-pro"]
    assert miner.dropped["the_query_itself"] == 1
