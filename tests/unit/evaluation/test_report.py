from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.evaluation.latency import measure_latency, measure_speed
from hybrid_search.evaluation.measures import MEASURES
from hybrid_search.evaluation.protocol import Evaluation, EvaluationSettings, evaluate
from hybrid_search.evaluation.report import as_json, compare_with_bm25, measure_rows, significance_rows
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Judgement, Query


@pytest.fixture
def retriever(tmp_path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
        yield retriever


@pytest.fixture
def evaluation(retriever) -> Evaluation:
    queries = [Query("q1", "cat"), Query("q2", "sleeps"), Query("q3", "automobile")]
    return evaluate(retriever, queries, [Judgement("q1", "d2", 1), Judgement("q2", "d5", 1), Judgement("q3", "d4", 1)])


def test_json_has_the_promised_shape(retriever, evaluation) -> None:
    speed = measure_speed(retriever, ["cat", "dog"], ["a cat"], repeats=5)
    report = json.loads(json.dumps(as_json(evaluation, compare_with_bm25(evaluation), speed=speed)))
    assert list(report) == ["systems", "significance", "latency_ms", "rates", "counts"]
    assert list(report["systems"]) == ["random", "bm25", "knn", "hybrid"]
    assert tuple(report["systems"]["bm25"]) == MEASURES
    assert report["systems"]["bm25"]["RR@10"] == pytest.approx((0 + 1 + 0) / 3)
    assert report["significance"]["measure"] == "nDCG@10"
    assert set(report["significance"]["systems"]["knn"]) >= {"interval", "difference", "difference_interval", "p_holm"}
    assert list(report["latency_ms"]) == ["hybrid", "bm25", "knn"]
    assert list(report["latency_ms"]["knn"]) == ["p50", "p95", "p99"]
    assert report["counts"]["queries"] == 3


def test_json_without_measured_speed_has_no_figures_for_it(evaluation) -> None:
    report = as_json(evaluation, compare_with_bm25(evaluation))
    assert (report["latency_ms"], report["rates"]) == ({}, {})


@pytest.mark.parametrize(
    ("depth", "left_out"),
    [(1_000, set()), (999, {"R@1000"}), (100, {"R@1000"}), (99, {"R@1000", "R@100"}), (3, {"R@1000", "R@100"})],
)
def test_no_recall_is_told_of_ranks_that_nobody_looked_at(retriever, depth: int, left_out: set[str]) -> None:
    shallow = evaluate(
        retriever, [Query("q", "cat")], [Judgement("q", "d2", 1)], settings=EvaluationSettings(depth=depth)
    )
    assert all(set(MEASURES) - set(values) == left_out for values in shallow.means.values())
    assert left_out.isdisjoint(measure_rows(shallow.means)[0])


def test_rows_have_a_header_and_one_row_a_system(evaluation) -> None:
    rows = measure_rows(evaluation.means)
    assert rows[0] == ("system", *MEASURES)
    assert [row[0] for row in rows[1:]] == ["random", "bm25", "knn", "hybrid"]
    assert {len(row) for row in rows} == {10}
    assert rows[2][2] == "0.333"


def test_the_baselines_row_shows_no_difference(evaluation) -> None:
    rows = {row[0]: row for row in significance_rows(compare_with_bm25(evaluation))}
    assert rows["bm25"][2:] == ("", "", "")
    # k-NN against BM25: q1 1 to 0, q2 0 to 1, q3 1 to 0.
    assert rows["knn"][4] == "2/1/0"
    assert rows["knn"][2].startswith("+0.333 [")


def test_percentiles_rise_and_rates_are_positive(retriever) -> None:
    latency = measure_latency(retriever, ["cat", "dog"], repeats=30)
    assert 0 < latency.p50 <= latency.p95 <= latency.p99
    assert latency.queries_per_second > 0


def test_without_towers_only_bm25_is_timed(tmp_path) -> None:
    with Retriever(None, EmbeddedEngine.create(tmp_path / "plain", IndexSettings())) as retriever:
        speed = measure_speed(retriever, ["cat"], ["a cat"], repeats=2)
    assert list(speed.latency) == ["bm25"]
    assert speed.queries_encoded_per_second is None


def test_latency_without_queries_is_refused(retriever) -> None:
    with pytest.raises(UsageError, match="got 0 and 200"):
        measure_latency(retriever, [])
