"""Two evaluations side by side, by hand."""

from __future__ import annotations

import pytest

from hybrid_search.evaluation.measures import MEASURES, measure, qrels_of
from hybrid_search.evaluation.protocol import Evaluation, EvaluationCounts, EvaluationSettings
from hybrid_search.evaluation.side_by_side import compare_side_by_side, query_rows, system_rows
from hybrid_search.types import Judgement, Ranking

QRELS = qrels_of([Judgement(query, "a", 1) for query in ("q1", "q2", "q3")])
COUNTS = EvaluationCounts(3, 0, 0, 12, 3, 3, 0)
TWELVE = tuple("abcdefghijkl")


def evaluation(**rankings: str) -> Evaluation:
    run = {query: Ranking(tuple(ids), tuple(range(len(ids), 0, -1))) for query, ids in rankings.items()}
    return Evaluation({"bm25": measure(run, QRELS)}, {"bm25": run}, COUNTS, EvaluationSettings())


def test_what_differs_is_listed_query_by_query_the_largest_change_first() -> None:
    one = evaluation(q1="abc", q2="abcdefghijkl", q3="ab")
    other = evaluation(q1="bac", q2="abcdefghijlk", q3="ab")
    [(system, found)] = compare_side_by_side(one, other).items()
    assert system == "bm25"
    assert (found.queries, found.identical, found.identical_at_10) == (3, 1, 2)
    assert (found.overlap_at_10, found.overlap_at_100) == (1.0, 1.0)
    first, second = found.differing
    assert (first.query_id, first.shared, first.first_rank) == ("q1", 3, 1)
    assert (first.value, first.other) == (1.0, pytest.approx(0.6309, abs=1e-4))  # second place: 1 / log2(3)
    assert first.change == pytest.approx(-0.3691, abs=1e-4)
    assert (second.query_id, second.shared, second.first_rank, second.change) == ("q2", 10, 11, 0.0)
    assert set(found.means) == set(MEASURES)
    assert found.means["RR@10"] == (1.0, pytest.approx((0.5 + 1 + 1) / 3))
    assert (found.comparison.wins, found.comparison.losses, found.comparison.ties) == (0, 1, 2)


def test_a_ranking_that_ends_early_parts_where_it_ends() -> None:
    [found] = compare_side_by_side(evaluation(q1="ab"), evaluation(q1="a")).values()
    assert [(one.first_rank, one.shared) for one in found.differing] == [(2, 1)]
    assert found.overlap_at_10 == 0.5


def test_the_tables_hold_the_first_10_only() -> None:
    found = compare_side_by_side(evaluation(q1="ab", q2=TWELVE), evaluation(q1="ba", q2=TWELVE[:-1]))
    assert query_rows(found)[1:] == [("bm25", "q1", "2", "1", "1.000", "0.631", "-0.369")]
    [row] = system_rows(found)[1:]
    assert row[0] == "bm25"
    assert row[5:] == ("2", "1", "0", "1.0000", "0.9583")
