"""An evaluation as the entries that are kept of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hybrid_search import mappings
from hybrid_search.errors import UsageError
from hybrid_search.evaluation.evaluate import EvaluateResult
from hybrid_search.evaluation.latency import Latency, Speed
from hybrid_search.evaluation.measures import MEASURES
from hybrid_search.evaluation.protocol import Evaluation, EvaluationCounts, EvaluationSettings
from hybrid_search.evaluation.result_index import Evaluated, entries_of, evaluation_store

COUNTS = EvaluationCounts(
    queries=2, unjudged=0, without_relevant=0, documents=10, judgements=4, relevant=3, relevant_missing=0
)
BM25, HYBRID = {"q1": 0.25, "q2": 0.75}, {"q1": 0.5, "q2": 1.0}
EVALUATED = Evaluated("passages-000002", "abc", "docs", "")
TIME = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def result() -> EvaluateResult:
    values = {"bm25": dict.fromkeys(MEASURES, BM25), "hybrid": dict.fromkeys(MEASURES, HYBRID)}
    evaluation = Evaluation(values, {}, COUNTS, EvaluationSettings(depth=100))
    speed = Speed({"hybrid": Latency(p50=1.0, p95=2.0, p99=3.0, queries_per_second=9.0)}, None, None)
    return EvaluateResult("test", evaluation, speed, None)


def test_each_system_has_an_entry_with_its_means_and_its_difference_to_bm25(result: EvaluateResult) -> None:
    bm25, hybrid = entries_of(result, EVALUATED, TIME)
    assert (bm25["system"], bm25["ndcg_at_10"], bm25["difference_to_bm25"]) == ("bm25", 0.5, 0.0)
    assert (hybrid["system"], hybrid["ndcg_at_10"], hybrid["difference_to_bm25"]) == ("hybrid", 0.75, 0.25)
    assert hybrid["time"] == "2026-11-21T00:00:00.000+00:00"
    assert (hybrid["dataset"], hybrid["split"], hybrid["queries"], hybrid["depth"]) == ("docs", "test", 2, 100)
    assert bm25["evaluation"] == hybrid["evaluation"]


def test_latency_is_of_the_systems_that_are_served(result: EvaluateResult) -> None:
    bm25, hybrid = entries_of(result, EVALUATED, TIME)
    assert (hybrid["p50_ms"], hybrid["p95_ms"], hybrid["p99_ms"]) == (1.0, 2.0, 3.0)
    assert "p50_ms" not in bm25


def test_every_field_has_its_place_in_the_mapping(result: EvaluateResult) -> None:
    declared = mappings.render("index/evaluations")["mappings"]["properties"].keys()
    for entry in entries_of(result, Evaluated("passages", "abc", "docs", "nist"), TIME):
        assert entry.keys() <= declared
    assert {name.lower().replace("@", "_at_") for name in MEASURES} <= declared


def test_a_folder_has_no_store_and_says_so_before_anything_is_evaluated() -> None:
    with pytest.raises(UsageError, match="beside an index on a server only"), evaluation_store("./index"):
        pass
