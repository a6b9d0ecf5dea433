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
from numpy.typing import NDArray

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.measures import PRIMARY, Qrels, measure, qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.fusion import fuse
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.types import Judgement, Query, Ranking

__all__ = [
    "BM25_GRID",
    "Bm25Fit",
    "FusionFit",
    "FusionRefit",
    "best_fusion",
    "chosen_place",
    "fit_bm25",
    "fit_fusion",
    "plateau_centre",
    "refit_fusion",
]

BM25_GRID = tuple(Bm25(k1=k1, b=b) for k1 in (0.6, 0.9, 1.2, 1.6) for b in (0.2, 0.4, 0.6, 0.75))
"""The k1 and b that :func:`fit_bm25` tries."""

_STEPS = 20
_GRID = tuple(step / _STEPS for step in range(_STEPS + 1))
"""The weights of BM25 to try."""

_CUT = 10
_LEAST_GAIN = 0.005
_LEVEL = 0.05
_SURE = 1.96  # standard errors
_NOTHING = Ranking((), ())

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FusionFit:
    """The chosen fusion and the measurements behind the choice.

    :ivar curve: (BM25's weight, mean nDCG@10), from k-NN alone (0) to BM25 alone (1).
    :ivar gain: mean nDCG@10 of the chosen fusion less that of BM25 alone; 0 if BM25 alone was chosen.
    :ivar queries: number of validation queries.
    :ivar is_sure: whether the middle of the plateau gains more than 1.96 standard errors over BM25 alone.
    """

    fusion: Fusion
    curve: tuple[tuple[float, float], ...]
    gain: float
    queries: int
    is_sure: bool

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
    table = _weights_by_queries(bm25, knn, judgements, fusion or Fusion(), min_grade)
    return _chosen(table, fusion or Fusion())


def best_fusion(
    bm25: Mapping[str, Ranking], knn: Mapping[str, Ranking], judgements: Iterable[Judgement], fusion: Fusion
) -> tuple[Fusion, dict[float, float]]:
    """Choose the weight with the best mean nDCG@10, without caution; arguments of :func:`fit_fusion`.

    Of several that are level, as where both legs find everything, that nearest to the weight of ``fusion``.

    :return: the fusion, and BM25's weight -> mean nDCG@10.
    """
    means = _weights_by_queries(bm25, knn, judgements, fusion, 1).mean(axis=1)
    level = [weight for weight, mean in zip(_GRID, means, strict=True) if mean >= means.max() - 1e-9]
    chosen = min(level, key=lambda weight: abs(weight - fusion.weights[0]))
    return _weighted(fusion, chosen), dict(zip(_GRID, means.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class FusionRefit:
    """A fusion's weights chosen again, compared with its previous ones.

    :ivar fit: the choice on all queries.
    :ivar before: mean nDCG@10 with the previous weights.
    :ivar after: with the chosen weights, on the queries that they were chosen on.
    :ivar held_out: on held-out queries: each half with the weights chosen on the other half.
    :ivar p_value: paired permutation test of ``held_out`` against ``before``.
    """

    fit: FusionFit
    before: float
    after: float
    held_out: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the choice changes held-out queries significantly."""
        return self.p_value < _LEVEL


def refit_fusion(
    bm25: Mapping[str, Ranking],
    knn: Mapping[str, Ranking],
    judgements: Iterable[Judgement],
    fusion: Fusion,
    *,
    min_grade: int = 1,
) -> FusionRefit:
    """Choose a fusion's weights again, and measure the gain on held-out queries; arguments of :func:`fit_fusion`."""
    judged = list(judgements)
    table = _weights_by_queries(bm25, knn, judged, fusion, min_grade)
    fit = _chosen(table, fusion)
    (before,) = _weights_by_queries(bm25, knn, judged, fusion, min_grade, weights=[fusion.weights[0]])
    (after,) = _weights_by_queries(bm25, knn, judged, fusion, min_grade, weights=[fit.fusion.weights[0]])
    half, held_out = np.arange(len(before)) % 2, before.copy()
    for own in (0, 1) if len(before) > 1 else ():
        held_out[half == own] = table[chosen_place(table[:, half != own]), half == own]
    return FusionRefit(
        fit,
        before=float(before.mean()),
        after=float(after.mean()),
        held_out=float(held_out.mean()),
        p_value=paired_p_value(held_out, before),
    )


def _weights_by_queries(
    bm25: Mapping[str, Ranking],
    knn: Mapping[str, Ranking],
    judgements: Iterable[Judgement],
    fusion: Fusion,
    min_grade: int,
    *,
    weights: Sequence[float] = _GRID,
) -> Values:
    """Return nDCG@10 by (weight of BM25, query)."""
    if bm25.keys() != knn.keys():
        raise UsageError(f"the legs are of different queries: {len(bm25)} for BM25, {len(knn)} for k-NN")
    qrels = _judged(judgements, bm25.keys(), min_grade)
    legs = {query: (_cut(bm25[query], fusion.window), _cut(knn[query], fusion.window)) for query in qrels.grades}
    return np.array([_fused_values(legs, _weighted(fusion, weight), qrels) for weight in weights])


def _chosen(table: Values, fusion: Fusion) -> FusionFit:
    means = table.mean(axis=1)
    row = chosen_place(table)
    return FusionFit(
        fusion=_weighted(fusion, _GRID[row]),
        curve=tuple(zip(_GRID, means.tolist(), strict=True)),
        gain=float(means[row] - means[-1]),
        queries=table.shape[1],
        is_sure=_standard_errors(table[plateau_centre(table)] - table[-1]) > _SURE,
    )


def chosen_place(table: Values) -> int:
    """Return the row chosen from (weights, queries) values, whose last row is BM25 alone; see the module."""
    last = len(table) - 1
    centre = plateau_centre(table)
    errors = _standard_errors(table[centre] - table[last])
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
) -> Bm25Fit:
    """Choose k1 and b.

    :param search: ranks all ``queries``, in order, with the given k1 and b; called once per pair.
    :param default: kept unless another pair is significantly better; None for OpenSearch's 1.2 and 0.75.
    :raises DataError: if no query has a relevant judgement.
    """
    default = default or Bm25()
    qrels = _judged(judgements, {query.id for query in queries}, min_grade)
    pairs = [default, *(pair for pair in grid if pair != default)]
    table = np.array([_bm25_values(search(pair), queries, qrels) for pair in pairs])
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


def _cut(ranking: Ranking, window: int) -> Ranking:
    return Ranking(ranking.ids[:window], ranking.scores[:window])


def _weighted(fusion: Fusion, bm25_weight: float) -> Fusion:
    return fusion.replace(weights=(bm25_weight, round(1 - bm25_weight, 12)))


def _fused_values(legs: Mapping[str, tuple[Ranking, Ranking]], fusion: Fusion, qrels: Qrels) -> list[float]:
    rankings = {}
    for query, (bm25, knn) in legs.items():
        fused = fuse(bm25, knn, fusion, top=_CUT)
        rankings[query] = Ranking(tuple(hit.id for hit in fused), tuple(hit.score for hit in fused))
    return _values(rankings, qrels)


def _bm25_values(rankings: Sequence[Ranking], queries: Sequence[Query], qrels: Qrels) -> list[float]:
    by_query = {query.id: _cut(ranking, _CUT) for query, ranking in zip(queries, rankings, strict=True)}
    return _values(by_query, qrels)


def _values(rankings: Mapping[str, Ranking], qrels: Qrels) -> list[float]:
    return list(measure(rankings, qrels, names=(PRIMARY,))[PRIMARY].values())


def _standard_errors(gains: Values) -> float:
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
