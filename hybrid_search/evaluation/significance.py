"""Bootstrap intervals and paired significance tests against a baseline, by scipy.

Queries are the sample. Intervals are 95 % percentile bootstrap intervals; the test is the two-sided paired
permutation test on the mean difference (each query's two values may be swapped), corrected by Holm's method for the
systems compared. Both use :data:`RESAMPLES` seeded resamples; the test is exact where all permutations are fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import MissingExtra, UsageError

__all__ = ["RESAMPLES", "Comparison", "Interval", "compare", "holm", "mean_interval", "paired_p_value"]

RESAMPLES = 10_000

# Values in memory at once while resampling; bounds the memory for large query sets.
_VALUES_AT_ONCE = 4_000_000

Interval = tuple[float, float]
"""Lower and upper end."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system against the baseline, in one measure.

    :ivar interval: of the mean; None for a single query.
    :ivar difference: the system's mean less the baseline's.
    :ivar p_value: of the paired test; 1 for the baseline itself.
    :ivar p_holm: the same after Holm's correction for all systems compared.
    :ivar wins: queries on which the system has the higher value; ``losses`` and ``ties`` likewise.
    """

    mean: float
    interval: Interval | None
    difference: float
    difference_interval: Interval | None
    p_value: float
    p_holm: float
    wins: int
    losses: int
    ties: int


def compare(
    values: Mapping[str, Mapping[str, float]], *, baseline: str = "bm25", seed: int = 0
) -> dict[str, Comparison]:
    """Compare systems with the baseline.

    :param values: system -> query id -> value of one measure; the same queries for all systems.
    :return: system -> comparison, the baseline (compared with itself) included.
    :raises UsageError: if the baseline is not among the systems, or the queries differ.
    :raises MissingExtra: if scipy is not installed.
    """
    if baseline not in values:
        raise UsageError(f"the baseline {baseline!r} is not among the systems {', '.join(values)}")
    queries = sorted(values[baseline])
    for system, by_query in values.items():
        if sorted(by_query) != queries:
            raise UsageError(f"{system!r} and {baseline!r} were measured on different queries")
    table = {system: np.array([by_query[query] for query in queries]) for system, by_query in values.items()}
    others = [system for system in table if system != baseline]
    p_values = {s: paired_p_value(table[s], table[baseline], seed=seed) for s in others}
    corrected = dict(zip(others, holm(list(p_values.values())), strict=True))
    return {
        system: _comparison(row, table[baseline], (p_values.get(system, 1.0), corrected.get(system, 1.0)), seed)
        for system, row in table.items()
    }


def _comparison(row: Values, baseline: Values, p_values: tuple[float, float], seed: int) -> Comparison:
    difference = row - baseline
    return Comparison(
        mean=float(row.mean()),
        interval=mean_interval(row, seed=seed),
        difference=float(difference.mean()),
        difference_interval=mean_interval(difference, seed=seed),
        p_value=p_values[0],
        p_holm=p_values[1],
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        ties=int((difference == 0).sum()),
    )


def mean_interval(values: Sequence[float] | Values, *, seed: int = 0) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean; None for fewer than two values.

    :raises MissingExtra: if scipy is not installed.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return None
    result = _scipy_stats().bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=RESAMPLES, batch=_batch(sample), rng=_generator(seed)
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_p_value(values: Sequence[float] | Values, baseline: Sequence[float] | Values, *, seed: int = 0) -> float:
    """Test whether two systems differ on the same queries: two-sided, 1 when they are equal on all.

    :raises UsageError: if the lengths differ.
    :raises MissingExtra: if scipy is not installed.
    """
    if len(values) != len(baseline):
        raise UsageError(f"{len(values)} values can't be paired with {len(baseline)}")
    difference = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    # A query on which both are equal stays the same under every permutation of its pair.
    difference = difference[difference != 0]
    if len(difference) < 2:
        return 1.0
    result = _scipy_stats().permutation_test(
        (difference,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=_batch(difference),
        rng=_generator(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method; in the order given."""
    corrected, floor = [0.0] * len(p_values), 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - step)))
        corrected[index] = floor
    return corrected


def _mean(values: Values, axis: int) -> Values:
    mean: Values = values.mean(axis=axis)
    return mean


def _batch(sample: Values) -> int:
    return max(1, _VALUES_AT_ONCE // len(sample))


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise MissingExtra("scipy", "train") from error
    return stats
