from __future__ import annotations

import builtins
import math
import re

import pytest

from hybrid_search.errors import MissingExtra, UsageError
from hybrid_search.evaluation.measures import MEASURES, check_measures, means, measure, qrels_of
from hybrid_search.types import Judgement, Ranking


def judged(query: str, **grades: int) -> list[Judgement]:
    return [Judgement(query, document, grade) for document, grade in grades.items()]


def ranked(*ids: str) -> Ranking:
    return Ranking(ids, tuple(1 / place for place in range(1, len(ids) + 1)))


def values(ranking: Ranking, *, min_grade: int = 1, **grades: int) -> dict[str, float]:
    measured = measure({"q": ranking}, qrels_of(judged("q", **grades), min_grade=min_grade))
    return {name: by_query["q"] for name, by_query in measured.items()}


def test_all_measures_of_a_four_document_case_equal_those_by_hand() -> None:
    # Ranked x, a (grade 2), b (grade 1), y; c (grade 1) is not found.
    dcg = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert values(ranked("x", "a", "b", "y"), a=2, b=1, c=1, x=0) == pytest.approx(
        {
            "nDCG@10": dcg / ideal,
            "RR@10": 1 / 2,
            "AP": (1 / 2 + 2 / 3) / 3,
            "P@10": 2 / 10,
            "R@10": 2 / 3,
            "R@100": 2 / 3,
            "R@1000": 2 / 3,
            "F1@10": 2 * (0.2 * 2 / 3) / (0.2 + 2 / 3),
            "Success@10": 1.0,
        }
    )


def test_measures_come_under_the_promised_names_in_order() -> None:
    assert tuple(values(ranked("a"), a=1)) == MEASURES
    assert MEASURES == ("nDCG@10", "RR@10", "AP", "P@10", "R@10", "R@100", "R@1000", "F1@10", "Success@10")


def test_a_higher_lowest_grade_changes_binary_measures_and_not_ndcg() -> None:
    lenient = values(ranked("b", "a"), a=2, b=1)
    strict = values(ranked("b", "a"), a=2, b=1, min_grade=2)
    assert (lenient["RR@10"], strict["RR@10"]) == (1.0, 0.5)
    assert (lenient["P@10"], strict["P@10"]) == (0.2, 0.1)
    assert (lenient["AP"], strict["AP"]) == (1.0, 0.5)
    assert strict["nDCG@10"] == lenient["nDCG@10"]


def test_reciprocal_rank_stops_at_ten() -> None:
    assert values(ranked(*(f"x{i}" for i in range(9)), "a"), a=1)["RR@10"] == pytest.approx(0.1)
    assert values(ranked(*(f"x{i}" for i in range(10)), "a"), a=1)["RR@10"] == 0.0


@pytest.mark.parametrize(("order", "expected"), [(("a", "z"), 1.0), (("z", "a"), 0.5)])
def test_the_order_of_a_ranking_counts_where_scores_are_equal(order, expected) -> None:
    assert values(Ranking(order, (3.0, 3.0)), a=1)["RR@10"] == expected


def test_the_order_of_a_ranking_counts_even_against_its_scores() -> None:
    assert values(Ranking(("z", "a"), (1.0, 2.0)), a=1)["RR@10"] == 0.5


@pytest.mark.parametrize("run", [{}, {"q": Ranking((), ())}, {"other": Ranking(("a",), (1.0,))}])
def test_a_judged_query_without_hits_scores_zero_in_every_measure(run) -> None:
    measured = measure(run, qrels_of(judged("q", a=1)))
    assert measured == {name: {"q": 0.0} for name in MEASURES}


def test_queries_without_hits_lower_the_mean() -> None:
    qrels = qrels_of([*judged("q1", a=1), *judged("q2", b=1)])
    assert means(measure({"q1": ranked("a")}, qrels))["RR@10"] == 0.5


def test_queries_without_a_relevant_judgement_are_left_out_and_named() -> None:
    qrels = qrels_of([*judged("q1", a=1), *judged("q2", b=0), *judged("q3", c=1, d=2)], min_grade=2)
    assert list(qrels.grades) == ["q3"]
    assert qrels.left_out == ("q1", "q2")


def test_the_higher_of_two_judgements_of_a_pair_counts() -> None:
    assert qrels_of([*judged("q", a=2), *judged("q", a=0)]).grades == {"q": {"a": 2}}


def test_only_the_measures_asked_for_are_computed() -> None:
    assert measure({"q": ranked("a")}, qrels_of(judged("q", a=1)), names=("F1@10",)) == {
        "F1@10": {"q": pytest.approx(2 * 0.1 / 1.1)}
    }


def test_an_unknown_measure_is_refused_with_the_good_ones() -> None:
    with pytest.raises(UsageError, match="no measure is called 'nDGC@10'; there are nDCG@10"):
        measure({}, qrels_of(judged("q", a=1)), names=("nDGC@10",))


@pytest.mark.parametrize(
    "name",
    ["nDCG@0", "P@0", "Judged@0", "P@99999999999999999999", "P(rel=0)@10", "P(rel=99999999999)@10", "SetF(beta=0)"],
)
def test_a_measure_that_would_end_the_process_or_its_library_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(name))):
        check_measures((name,))


@pytest.mark.parametrize("id", ["half \ud800", "a\0b"])
def test_an_id_that_the_measuring_library_reads_wrongly_is_refused(id: str) -> None:
    for judgement in (Judgement(id, "d", 1), Judgement("q", id, 1)):
        with pytest.raises(UsageError, match="which is no text that can be measured with"):
            qrels_of([judgement])


def test_any_measure_of_ir_measures_can_be_asked_for_by_its_name() -> None:
    names = ("nDCG@2", "Success@1", "MAP", "AP", "P(rel=2)@2", "P@2")
    measured = measure({"q": ranked("b", "a")}, qrels_of(judged("q", a=2, b=1)), names=names)
    assert {name: by_query["q"] for name, by_query in measured.items()} == pytest.approx(
        {
            "nDCG@2": (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)),
            "Success@1": 1.0,
            "MAP": 1.0,
            "AP": 1.0,
            "P(rel=2)@2": 0.5,
            "P@2": 1.0,
        }
    )


def test_grade_zero_can_not_be_relevant() -> None:
    with pytest.raises(UsageError, match="min_grade is 0"):
        qrels_of([], min_grade=0)


def test_a_missing_library_names_the_extra(monkeypatch) -> None:
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ir_measures":
            raise ModuleNotFoundError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"ir-measures .*hybrid-search-towers\[train\]"):
        measure({}, qrels_of(judged("q", a=1)))
