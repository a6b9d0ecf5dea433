from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ConfigError, DataError, UsageError
from hybrid_search.evaluation import protocol
from hybrid_search.evaluation.protocol import EvaluationSettings, evaluate
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Judgement, Query, Ranking

QUERIES = (Query("q1", "cat"), Query("q2", "sleeps"), Query("q3", "dog"), Query("q4", "oak"), Query("q5", "tree"))
JUDGEMENTS = (
    Judgement("q1", "d2", 1),
    Judgement("q2", "d5", 2),
    Judgement("q2", "gone", 1),
    Judgement("q4", "d4", 0),
    Judgement("elsewhere", "d1", 1),
)


@pytest.fixture
def retriever(tmp_path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
        yield retriever


def test_all_systems_that_can_be_run_are_evaluated_in_report_order(retriever) -> None:
    assert list(evaluate(retriever, QUERIES, JUDGEMENTS).values) == ["random", "bm25", "knn", "hybrid"]
    with_untrained = evaluate(retriever, QUERIES, JUDGEMENTS, untrained=AxisEncoder("plain"))
    assert list(with_untrained.values) == ["random", "bm25", "untrained", "knn", "hybrid"]


def test_bm25_is_evaluated_even_when_it_was_not_asked_for(retriever) -> None:
    evaluation = evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(systems=("knn",)))
    assert list(evaluation.values) == ["bm25", "knn"]


def test_means_are_those_by_hand(retriever) -> None:
    means = evaluate(retriever, QUERIES, JUDGEMENTS).means
    # q1 "cat": BM25 finds d1 only, k-NN d2 first. q2 "sleeps": BM25 d5 first, k-NN nothing, hybrid as BM25.
    assert means["bm25"]["RR@10"] == pytest.approx(0.5)
    assert means["knn"]["RR@10"] == pytest.approx(0.5)
    assert means["hybrid"]["RR@10"] == pytest.approx((1 / 2 + 1) / 2)
    assert means["knn"]["R@10"] == pytest.approx((1 + 0) / 2)


def test_untrained_ranks_the_whole_corpus_with_its_own_encoder(retriever) -> None:
    evaluation = evaluate(retriever, QUERIES, JUDGEMENTS, untrained=AxisEncoder("plain"))
    assert evaluation.runs["untrained"]["q1"].ids == evaluation.runs["knn"]["q1"].ids == ("d2", "d1", "d3", "d4")


def test_counts_say_what_was_left_out_and_what_is_missing(retriever) -> None:
    counts = evaluate(retriever, QUERIES, JUDGEMENTS).counts
    assert (counts.queries, counts.unjudged, counts.without_relevant) == (2, 2, 1)
    assert (counts.documents, counts.judgements, counts.relevant, counts.relevant_missing) == (5, 3, 3, 1)


def test_runs_reach_the_depth_and_are_kept_unless_told_otherwise(retriever) -> None:
    shallow = evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(depth=1))
    assert {len(ranking) for run in shallow.runs.values() for ranking in run.values()} <= {0, 1}
    assert set(shallow.runs["bm25"]) == {"q1", "q2"}
    dropped = evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(keep_runs=False))
    assert dropped.runs == {}
    assert dropped.means == evaluate(retriever, QUERIES, JUDGEMENTS).means


def test_batches_change_nothing(retriever, monkeypatch) -> None:
    whole = evaluate(retriever, QUERIES, JUDGEMENTS)
    monkeypatch.setattr(protocol, "_BATCH", 1)
    assert evaluate(retriever, QUERIES, JUDGEMENTS) == whole


def test_a_second_stage_is_a_system_of_its_own_that_ranks_no_deeper_than_it_looks(retriever) -> None:
    def by_length(query, hits):
        return [len(hit.text) for hit in hits]

    plain = evaluate(retriever, QUERIES, JUDGEMENTS)
    found = evaluate(retriever, QUERIES, JUDGEMENTS, second=SecondStage(2, by_length))
    assert list(found.values) == ["random", "bm25", "knn", "hybrid", "reranked"]
    assert {**found.runs, "reranked": None} == {**plain.runs, "reranked": None}
    # Of "sleeps" d5 and d2 are found, of 13 and 17 characters; "cat" has d1 (11) and d2.
    assert found.runs["reranked"]["q2"] == Ranking(("d2", "d5"), (17.0, 13.0))
    assert found.runs["reranked"]["q1"].ids == ("d2", "d1")
    assert found.means["reranked"]["RR@10"] == pytest.approx((1 + 1 / 2) / 2)
    with pytest.raises(UsageError, match="system 'reranked' can't be evaluated without a reranker"):
        evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(systems=("reranked",)))


def test_bm25_parameters_change_the_bm25_system_only(retriever) -> None:
    plain = evaluate(retriever, QUERIES, JUDGEMENTS)
    other = evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(bm25=Bm25(k1=0, b=0.75)))
    # The idf of "cat" alone: ln 4.
    assert other.runs["bm25"]["q1"].scores == pytest.approx((1.386294,), abs=1e-5)
    assert other.runs["hybrid"] == plain.runs["hybrid"]


def test_progress_counts_queries_and_encoded_documents(retriever) -> None:
    shown = []

    class Task:
        def __init__(self, label, total):
            self.entry = [label, total, 0]
            shown.append(self.entry)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, amount=1):
            self.entry[2] += amount

    evaluate(retriever, QUERIES, JUDGEMENTS, untrained=AxisEncoder("plain"), progress=Task)
    assert shown == [["evaluating", 6, 6], ["encoding untrained", 5, 5]]


def test_a_retriever_without_towers_is_evaluated_with_bm25(tmp_path) -> None:
    retriever = Retriever(None, EmbeddedEngine.create(tmp_path / "plain", IndexSettings()))
    retriever.add(PETS)
    assert list(evaluate(retriever, QUERIES, JUDGEMENTS).values) == ["random", "bm25"]
    with pytest.raises(UsageError, match="system 'hybrid' can't be evaluated without its towers"):
        evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(systems=("hybrid",)))


def test_queries_and_judgements_that_do_not_belong_together_are_refused(retriever) -> None:
    with pytest.raises(DataError, match="none of the 1 queries has a judgement of grade 1 or more"):
        evaluate(retriever, [Query("q9", "cat")], JUDGEMENTS)


def test_a_depth_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="depth is 0; it must be from 1 to 10000"):
        EvaluationSettings(depth=0)


def test_more_measures_stand_behind_the_usual_ones(retriever) -> None:
    found = evaluate(
        retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(measures=("Success@1", "AP", "nDCG@5"))
    )
    assert list(found.means["bm25"])[-2:] == ["Success@1", "nDCG@5"]
    assert list(found.means["bm25"]).count("AP") == 1
    with pytest.raises(UsageError, match="no measure is called 'nDGC@5'"):
        evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(measures=("nDGC@5",)))


def test_a_measure_that_looks_deeper_than_is_ranked_is_refused(retriever) -> None:
    with pytest.raises(UsageError, match="R@50 looks at 50 documents, of which depth=20 ranks fewer; raise depth"):
        evaluate(retriever, QUERIES, JUDGEMENTS, settings=EvaluationSettings(depth=20, measures=("R@50",)))


@pytest.mark.parametrize("id", ["z" * 600, "", " "])
def test_judged_documents_and_queries_whose_ids_no_index_can_hold_are_only_not_found(retriever, id: str) -> None:
    queries, judgements = [*QUERIES, Query(id, "cat")], [*JUDGEMENTS, Judgement("q1", id, 1), Judgement(id, "d1", 1)]
    found = evaluate(retriever, queries, judgements)
    assert found.counts.relevant_missing == 2
    assert found.values["bm25"]["RR@10"][id] == 1.0
