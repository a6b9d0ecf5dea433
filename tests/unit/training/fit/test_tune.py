from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.fusion import fuse
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.training.fit.weights import chosen_place, fit_bm25, fit_fusion, plateau_centre
from hybrid_search.types import Judgement, Query, Ranking


def leg(*ids: str) -> Ranking:
    return Ranking(ids, tuple(float(len(ids) - place) for place in range(len(ids))))


GOOD, BAD = leg("a", "x", "y", "z"), leg("p", "q", "r", "s")
NAMES = [f"q{i}" for i in range(30)]
JUDGEMENTS = [Judgement(name, "a", 1) for name in NAMES]


def test_the_weight_moves_to_the_leg_that_knows() -> None:
    lexical = fit_fusion(dict.fromkeys(NAMES, GOOD), dict.fromkeys(NAMES, BAD), JUDGEMENTS)
    dense = fit_fusion(dict.fromkeys(NAMES, BAD), dict.fromkeys(NAMES, GOOD), JUDGEMENTS)
    assert lexical.fusion.weights[0] > 0.5 > dense.fusion.weights[0]
    assert dense.fuses
    # BM25 alone does not find "a": a leg of weight 0 lends it no documents.
    assert dense.gain == pytest.approx(1.0)


def test_do_not_fuse_is_the_answer_where_fusing_gains_nothing() -> None:
    fit = fit_fusion(dict.fromkeys(NAMES, GOOD), dict.fromkeys(NAMES, BAD), JUDGEMENTS)
    assert fit.fusion.weights == (1.0, 0.0)
    assert (fit.gain, fit.fuses) == (0.0, False)


def test_bm25_alone_is_measured_as_bm25_is_where_it_finds_nothing() -> None:
    nothing = Ranking((), ())
    fit = fit_fusion(dict.fromkeys(NAMES, nothing), dict.fromkeys(NAMES, GOOD), JUDGEMENTS)
    assert fit.curve[-1] == (1.0, 0.0)
    assert fit.curve[0] == (0.0, 1.0)


def test_legs_that_know_different_queries_are_weighted_alike() -> None:
    bm25 = {name: leg("a", "b", "c") if i % 2 else leg("p", "a", "q") for i, name in enumerate(NAMES)}
    knn = {name: leg("r", "a", "s") if i % 2 else leg("a", "b", "c") for i, name in enumerate(NAMES)}
    fit = fit_fusion(bm25, knn, JUDGEMENTS)
    assert fit.fusion.weights == (0.5, 0.5)
    assert fit.gain == pytest.approx(1 - (1 + 1 / 1.584963) / 2, abs=1e-6)


def test_the_middle_of_a_plateau_is_chosen() -> None:
    # BM25's second (.5 of its scores) must beat k-NN's first: only below a weight of 2/3 does k-NN's "a" lead.
    bm25, knn = dict.fromkeys(NAMES, leg("x", "a", "y")), dict.fromkeys(NAMES, leg("a", "z", "w"))
    fit = fit_fusion(bm25, knn, JUDGEMENTS)
    best = [weight for weight, value in fit.curve if value == pytest.approx(1.0)]
    assert (best[0], best[-1]) == (0.0, 0.65)
    assert fit.fusion.weights[0] == pytest.approx(0.35)


def test_the_curve_goes_from_knn_alone_to_bm25_alone() -> None:
    fit = fit_fusion(dict.fromkeys(NAMES, GOOD), dict.fromkeys(NAMES, BAD), JUDGEMENTS)
    assert [weight for weight, _ in fit.curve] == [step / 20 for step in range(21)]
    assert (fit.curve[0][1], fit.curve[-1][1]) == (0.0, 1.0)


def test_one_noisy_query_does_not_decide() -> None:
    # 20 queries are happy with any weight, one of 21 wants k-NN alone: a gain of one standard error, all of it chance.
    names = NAMES[:21]
    bm25 = {**dict.fromkeys(names, leg("a", "b")), "q0": leg("p", "b")}
    knn = {**dict.fromkeys(names, leg("a", "c")), "q0": leg("a", "p")}
    fit = fit_fusion(bm25, knn, JUDGEMENTS[:21])
    assert fit.fusion.weights == (1.0, 0.0)
    assert not fit.is_sure


def test_the_weight_is_drawn_back_to_bm25_by_what_chance_explains_of_the_gain() -> None:
    # Two queries gain .3 and .1 on the plateau (rows 8 to 14, middle 11): mean .2, standard error .1. So z is 2, a
    # quarter of the gain is put down to chance, and of the 9 steps from BM25 alone (row 20) 6.75 are taken.
    table = np.zeros((21, 2))
    table[8:15] = (0.3, 0.1)
    assert plateau_centre(table) == 11
    assert chosen_place(table) == 13


def test_a_gain_within_one_standard_error_is_all_put_down_to_chance() -> None:
    table = np.zeros((21, 2))
    table[8:15] = (0.5, -0.1)  # mean .2, standard error .3
    assert chosen_place(table) == 20


def test_a_drawn_back_weight_that_gains_nothing_is_not_taken() -> None:
    table = np.zeros((21, 2))
    table[8] = (0.3, 0.1)  # three quarters of the way to it is row 11, which gains nothing
    assert chosen_place(table) == 20


def test_a_noisy_leg_hardly_ever_makes_the_fusion_significantly_worse_than_bm25() -> None:
    """BM25 knows most answers, k-NN ranks at random: weights are fitted on 100 queries and tested on 600 others."""
    generator = np.random.default_rng(0)
    ids = [f"d{i:02d}" for i in range(30)]

    def legs(count: int) -> tuple[dict[str, Ranking], dict[str, Ranking], list[Judgement]]:
        bm25, knn, judgements = {}, {}, []
        for i in range(count):
            order = generator.permutation(30)
            scores = np.sort(generator.gamma(2.0, size=30))[::-1]
            bm25[f"q{i}"] = Ranking(tuple(ids[j] for j in order), tuple(scores.tolist()))
            knn[f"q{i}"] = Ranking(tuple(ids[j] for j in generator.permutation(30)), tuple(scores.tolist()))
            judgements.append(Judgement(f"q{i}", ids[order[min(int(generator.exponential(2.0)), 29)]], 1))
        return bm25, knn, judgements

    worse = 0
    for _ in range(3):
        fit = fit_fusion(*legs(100)[:3])
        bm25, knn, judgements = legs(600)
        qrels = qrels_of(judgements)
        hits = {q: fuse(bm25[q], knn[q], fit.fusion, top=10) for q in bm25}
        fused = {q: Ranking(tuple(h.id for h in top), tuple(h.score for h in top)) for q, top in hits.items()}
        values = {
            name: measure(run, qrels, names=("nDCG@10",))["nDCG@10"]
            for name, run in (("bm25", bm25), ("hybrid", fused))
        }
        comparison = compare(values)["hybrid"]
        worse += comparison.difference < 0 and comparison.p_value < 0.05
    assert worse == 0


def test_method_window_and_combination_are_kept() -> None:
    asked = Fusion(method="rrf", window=2, rank_constant=10)
    fit = fit_fusion(dict.fromkeys(NAMES, BAD), dict.fromkeys(NAMES, leg("x", "y", "a")), JUDGEMENTS, fusion=asked)
    assert fit.fusion.replace(weights=(0.5, 0.5)) == asked
    # "a" lies behind the window.
    assert {value for _, value in fit.curve} == {0.0}


def test_one_query_is_enough_to_choose_by() -> None:
    fit = fit_fusion({"q0": BAD}, {"q0": GOOD}, JUDGEMENTS)
    assert fit.queries == 1
    assert fit.fuses


def test_legs_of_different_queries_and_missing_judgements_are_refused() -> None:
    with pytest.raises(UsageError, match="1 for BM25, 0 for k-NN"):
        fit_fusion({"q0": GOOD}, {}, JUDGEMENTS)
    with pytest.raises(DataError, match="none of the 1 queries has a relevant judgement"):
        fit_fusion({"other": GOOD}, {"other": BAD}, JUDGEMENTS)


QUERIES = [Query(name, name) for name in NAMES]
GRID = (Bm25(k1=0.9, b=0.4), Bm25(k1=2.0, b=0.9))


def searching(better_on: int):
    """Bm25(.9, .4) ranks the answer first instead of second on this many queries; (2, .9) finds nothing."""

    def search(bm25: Bm25) -> list[Ranking]:
        if bm25 == GRID[1]:
            return [BAD for _ in QUERIES]
        first = better_on if bm25 == GRID[0] else 0
        return [GOOD if place < first else leg("x", "a") for place in range(len(QUERIES))]

    return search


def test_better_bm25_parameters_are_chosen_when_the_gain_is_large_and_sure() -> None:
    fit = fit_bm25(searching(better_on=20), QUERIES, JUDGEMENTS, grid=GRID)
    assert fit.bm25 == fit.best == GRID[0]
    assert fit.p_value < 0.05
    assert [pair for pair, _ in fit.table] == [Bm25(), *GRID]


@pytest.mark.parametrize("better_on", [0, 3])
def test_the_default_stays_when_the_gain_is_not_sure(better_on) -> None:
    fit = fit_bm25(searching(better_on), QUERIES, JUDGEMENTS, grid=GRID)
    assert fit.bm25 == Bm25()


def test_a_sure_gain_that_is_too_small_keeps_the_default() -> None:
    queries = [Query(f"q{i}", "") for i in range(2_000)]
    judgements = [Judgement(query.id, "a", 1) for query in queries]

    def search(bm25: Bm25) -> list[Ranking]:
        return [GOOD if bm25 == GRID[0] and place < 20 else leg("x", "a") for place in range(len(queries))]

    fit = fit_bm25(search, queries, judgements, grid=GRID)
    assert fit.p_value < 0.05
    assert fit.gain == pytest.approx(0.00369, abs=1e-5)
    assert fit.bm25 == Bm25()
