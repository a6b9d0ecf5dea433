from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hybrid_search.errors import UsageError
from hybrid_search.evaluation.significance import compare, holm, mean_interval, paired_p_value


def test_identical_systems_have_p_value_one() -> None:
    values = np.random.default_rng(0).random(50)
    assert paired_p_value(values, values) == 1.0


def test_the_p_value_of_five_equal_wins_is_exact() -> None:
    # Of 2^5 sign patterns two are as extreme as all wins or all losses.
    assert paired_p_value([0.3] * 5, [0.1] * 5) == pytest.approx(2 / 32)


def test_queries_on_which_both_are_equal_change_no_p_value() -> None:
    values, baseline = [0.9, 0.5, 0.8, 0.7, 0.6], [0.1, 0.2, 0.5, 0.1, 0.7]
    assert paired_p_value([*values, 0.3, 0.3], [*baseline, 0.3, 0.3]) == paired_p_value(values, baseline)


def test_the_p_value_agrees_with_the_t_test_on_normal_differences() -> None:
    generator = np.random.default_rng(1)
    baseline = generator.random(200)
    values = baseline + generator.normal(0.02, 0.1, 200)
    assert paired_p_value(values, baseline) == pytest.approx(stats.ttest_rel(values, baseline).pvalue, abs=0.01)


def test_a_clear_difference_is_significant_and_noise_is_not() -> None:
    generator = np.random.default_rng(2)
    baseline = generator.random(100)
    noise = generator.normal(0, 0.1, 100)
    assert paired_p_value(baseline + 0.1 + noise, baseline) < 0.001
    assert paired_p_value(baseline + noise - noise.mean(), baseline) > 0.9


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_query_can_prove_nothing(values) -> None:
    assert paired_p_value(values, [0.1] * len(values)) == 1.0
    assert mean_interval(values) is None


def test_values_of_other_lengths_can_not_be_paired() -> None:
    with pytest.raises(UsageError, match="2 values can't be paired with 1"):
        paired_p_value([0.1, 0.2], [0.1])


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert mean_interval([0.25] * 10) == (0.25, 0.25)


def test_the_interval_agrees_with_the_normal_approximation() -> None:
    sample = np.random.default_rng(3).random(400)
    half = 1.96 * sample.std(ddof=1) / 20
    assert mean_interval(sample) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.003)


def test_the_same_seed_gives_the_same_interval() -> None:
    sample = np.random.default_rng(4).random(30)
    assert mean_interval(sample, seed=7) == mean_interval(sample, seed=7) != mean_interval(sample, seed=8)


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_comparison_counts_wins_losses_and_ties_by_query_id() -> None:
    values = {
        "bm25": {"q1": 0.5, "q2": 0.5, "q3": 0.5},
        # Another order of the queries: pairs are by id.
        "knn": {"q3": 0.5, "q2": 0.25, "q1": 0.9},
    }
    knn = compare(values)["knn"]
    assert (knn.wins, knn.losses, knn.ties) == (1, 1, 1)
    assert knn.mean == pytest.approx(0.55)
    assert knn.difference == pytest.approx(0.05)
    assert knn.difference_interval[0] < 0.05 < knn.difference_interval[1]


def test_the_baseline_compared_with_itself_differs_in_nothing() -> None:
    baseline = compare({"bm25": {"q1": 0.5, "q2": 0.1}})["bm25"]
    assert (baseline.difference, baseline.difference_interval, baseline.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_comparing_corrects_for_the_number_of_systems() -> None:
    baseline = {f"q{i}": 0.1 for i in range(8)}
    better = {query: value + 0.1 for query, value in baseline.items()}
    result = compare({"bm25": baseline, "knn": better, "hybrid": better})
    assert result["knn"].p_value == pytest.approx(2 / 256)
    assert result["knn"].p_holm == pytest.approx(4 / 256)


def test_a_missing_baseline_and_different_queries_are_refused() -> None:
    with pytest.raises(UsageError, match="'bm25' is not among the systems knn"):
        compare({"knn": {"q": 1.0}})
    with pytest.raises(UsageError, match="measured on different queries"):
        compare({"bm25": {"q": 1.0}, "knn": {"r": 1.0}})
