"""Chooses the fusion's weights, and BM25's k1 and b, on validation queries by nDCG@10.

Validation queries are few, so both choices stay close to settings that are known to be good:

- **Weights** (:func:`fit_fusion`): of a grid over BM25's weight, the *plateau* is the run of neighbouring weights
  around the best one whose mean falls short of the best by at most one standard error of the paired difference. The
  middle of the plateau is chosen, of two middles the one nearer to 0.5. Few or noisy queries make the plateau wide and
  so move the choice to its middle. The best of many weights also looks good by chance, so the choice is shrunk towards
  BM25 alone by the part of its gain that chance explains: by 1 / z² of the way, where z is the gain in standard errors
  (the positive-part estimator of James and Stein 1961, for one mean of known variance). With a gain of one standard
  error or less the result is BM25 alone, weights (1, 0); so it is for a weight that gains nothing.
- **BM25** (:func:`fit_bm25`): the default stays unless the best pair of the grid gains at least 0.005 and the paired
  permutation test against the default gives p < 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_search.errors import DataError
from hybrid_search.evaluation.measures import PRIMARY, Measurer, Qrels, qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.training.fit.table import GRID, FusionTable, Values, weighted
from hybrid_search.types import Judgement, Query, Ranking

__all__ = [
    "BM25_GRID",
    "Bm25Fit",
    "FusionFit",
    "best_fusion",
    "chosen_place",
    "fit_bm25",
    "fit_fusion",
    "plateau_centre",
    "standard_errors",
]

BM25_GRID = tuple(Bm25(k1=k1, b=b) for k1 in (0.6, 0.9, 1.2, 1.6) for b in (0.2, 0.4, 0.6, 0.75))
"""The k1 and b that :func:`fit_bm25` tries."""

_LEAST_GAIN = 0.005
_LEVEL = 0.05
_SURE = 1.96  # standard errors


@dataclass(frozen=True, slots=True)
class FusionFit:
    """The chosen fusion and the measurements behind the choice.

    :ivar curve: (BM25's weight, mean nDCG@10), from k-NN alone (0) to BM25 alone (1).
    :ivar gain: mean nDCG@10 of the chosen fusion less that of BM25 alone; 0 if BM25 alone was chosen.
    :ivar queries: number of validation queries.
    :ivar is_sure: whether the middle of the plateau gains more than 1.96 standard errors over BM25 alone.
    :ivar by_query: nDCG@10 of the chosen fusion for each query.
    """

    fusion: Fusion
    curve: tuple[tuple[float, float], ...]
    gain: float
    queries: int
    is_sure: bool
    by_query: tuple[float, ...]

    @property
    def fuses(self) -> bool:
        """Whether the chosen fusion gains over BM25 alone."""
        return self.gain > 0


@dataclass(frozen=True, slots=True)
class Bm25Fit:
    """The chosen k1 and b and the measurements behind the choice.

    :ivar table: (k1 and b, mean nDCG@10), the default first.
    :ivar best: the best pair of the grid, whether chosen or not.
    :ivar gain: the best pair's mean less the default's.
    :ivar p_value: of the best pair against the default.
    """

    bm25: Bm25
    table: tuple[tuple[Bm25, float], ...]
    best: Bm25
    gain: float
    p_value: float
    queries: int


def fit_fusion(
    bm25: Mapping[str, Ranking],
    knn: Mapping[str, Ranking],
    judgements: Iterable[Judgement],
    *,
    fusion: Fusion | None = None,
    min_grade: int = 1,
) -> FusionFit:
    """Choose the weights of BM25 and k-NN.

    :param bm25: query id -> the BM25 leg; only the fusion's window is used. Queries without judgements are ignored.
    :param knn: query id -> the k-NN leg, of the same queries.
    :param fusion: method, combination and window; its weights are ignored.
    :raises UsageError: if the legs are of different queries.
    :raises DataError: if no query has a relevant judgement.
    """
    table = _table(bm25, knn, judgements, min_grade)
    return _chosen(table.values(fusion or Fusion()), fusion or Fusion())


def best_fusion(
    bm25: Mapping[str, Ranking], knn: Mapping[str, Ranking], judgements: Iterable[Judgement], fusion: Fusion
) -> tuple[Fusion, dict[float, float]]:
    """Choose the weight with the best mean nDCG@10, without caution; arguments of :func:`fit_fusion`.

    Of several that are level, as where both legs find everything, that nearest to the weight of ``fusion``.

    :return: the fusion, and BM25's weight -> mean nDCG@10.
    """
    means = _table(bm25, knn, judgements, 1).values(fusion).mean(axis=1)
    level = [weight for weight, mean in zip(GRID, means, strict=True) if mean >= means.max() - 1e-9]
    chosen = min(level, key=lambda weight: abs(weight - fusion.weights[0]))
    return weighted(fusion, chosen), dict(zip(GRID, means.tolist(), strict=True))


def _table(
    bm25: Mapping[str, Ranking], knn: Mapping[str, Ranking], judgements: Iterable[Judgement], min_grade: int
) -> FusionTable:
    return FusionTable(bm25, knn, _judged(judgements, bm25.keys(), min_grade))


def _chosen(table: Values, fusion: Fusion) -> FusionFit:
    means = table.mean(axis=1)
    row = chosen_place(table)
    return FusionFit(
        fusion=weighted(fusion, GRID[row]),
        curve=tuple(zip(GRID, means.tolist(), strict=True)),
        gain=float(means[row] - means[-1]),
        queries=table.shape[1],
        is_sure=standard_errors(table[plateau_centre(table)] - table[-1]) > _SURE,
        by_query=tuple(table[row].tolist()),
    )


def chosen_place(table: Values) -> int:
    """Return the row chosen from (weights, queries) values, whose last row is BM25 alone; see the module."""
    last = len(table) - 1
    centre = plateau_centre(table)
    errors = standard_errors(table[centre] - table[last])
    kept = 1 - 1 / errors**2 if errors > 1 else 0.0
    row = last - round(kept * (last - centre))
    return row if table[row].mean() > table[last].mean() else last


def fit_bm25(
    search: Callable[[Bm25], Sequence[Ranking]],
    queries: Sequence[Query],
    judgements: Iterable[Judgement],
    *,
    grid: Sequence[Bm25] = BM25_GRID,
    default: Bm25 | None = None,
    min_grade: int = 1,
    measure: str = PRIMARY,
) -> Bm25Fit:
    """Choose k1 and b.

    :param search: ranks all ``queries``, in order, with the given k1 and b; called once per pair.
    :param default: kept unless another pair is significantly better; None for OpenSearch's 1.2 and 0.75.
    :param measure: what to choose by.
    :raises DataError: if no query has a relevant judgement.
    """
    default = default or Bm25()
    qrels = _judged(judgements, {query.id for query in queries}, min_grade)
    pairs = [default, *(pair for pair in grid if pair != default)]
    measurer = Measurer(qrels, names=(measure,))
    table = np.array([_bm25_values(search(pair), queries, measurer) for pair in pairs])
    means = table.mean(axis=1)
    best = int(means.argmax())
    gain = float(means[best] - means[0])
    p_value = paired_p_value(table[best], table[0])
    return Bm25Fit(
        bm25=pairs[best] if gain >= _LEAST_GAIN and p_value < _LEVEL else default,
        table=tuple(zip(pairs, means.tolist(), strict=True)),
        best=pairs[best],
        gain=gain,
        p_value=p_value,
        queries=len(qrels.grades),
    )


def _judged(judgements: Iterable[Judgement], queries: Iterable[str], min_grade: int) -> Qrels:
    given = set(queries)
    qrels = qrels_of((j for j in judgements if j.query_id in given), min_grade=min_grade)
    if not qrels.grades:
        raise DataError(f"none of the {len(given)} queries has a relevant judgement; there is nothing to choose by")
    return qrels


def _bm25_values(rankings: Sequence[Ranking], queries: Sequence[Query], measurer: Measurer) -> list[float]:
    (values,) = measurer({query.id: ranking for query, ranking in zip(queries, rankings, strict=True)}).values()
    return list(values.values())


def standard_errors(gains: Values) -> float:
    """Return the mean gain in standard errors, from one gain per query; infinite if all gains are equal and above 0."""
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    if error > 0:
        return float(gains.mean() / error)
    return math.inf if gains.mean() > 0 else 0.0


def plateau_centre(table: Values) -> int:
    """Return the middle row of the plateau of (weights, queries) values; see the module."""
    best = int(table.mean(axis=1).argmax())
    shortfall = table[best] - table
    spread = shortfall.std(axis=1, ddof=1) if table.shape[1] > 1 else np.zeros(len(table))
    level = shortfall.mean(axis=1) <= spread / np.sqrt(table.shape[1]) + 1e-12
    first = last = best
    while first > 0 and level[first - 1]:
        first -= 1
    while last < len(table) - 1 and level[last + 1]:
        last += 1
    low, high = (first + last) // 2, (first + last + 1) // 2
    return min((low, high), key=lambda row: abs(row - (len(table) - 1) / 2))
