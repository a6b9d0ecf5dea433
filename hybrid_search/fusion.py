"""Fusion of the BM25 and k-NN legs: the reference arithmetic of both engines.

The numbers are those of OpenSearch's normalization and score-ranker processors, to the bit where single precision
allows it: scores are float32, each leg is normalised over the hits that it returned (its window), then the legs'
normalised scores are joined with the weights. Two tables hold the techniques: :data:`NORMALISERS` and
:data:`COMBINATIONS`.

Quirks that are OpenSearch's and are kept on purpose:

- ``min_max_from_zero`` is ``min_max`` with a lower bound of 0 for the BM25 leg (mode ``apply``): a leg whose scores are
  all alike still gets 1.0;
- ``min_max`` gives the last hit of a leg 0.001, and 1.0 to every hit of a leg whose scores are all equal; a lone hit
  therefore gets 1.0 however poor it is;
- ``z_score`` gives a hit that scores exactly the leg's mean the leg's raw maximum: a lone BM25 hit of 12.4 gets 12.4;
- the arithmetic mean counts a missing leg as 0, the geometric and harmonic means leave it out: there a document found
  last by one leg sinks below documents that this leg did not find at all.

One is not kept: there a leg of weight 0 contributes its documents, with a score of 0 and in the order of their ids.
Here it contributes nothing, so that a hybrid with weight (1, 0) ranks as BM25 does; on a server such a leg is not
searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hybrid_search.settings.index import Combination, Fusion, Normalisation
from hybrid_search.types import Leg, Ranking

__all__ = [
    "COMBINATIONS",
    "LEGS",
    "NORMALISERS",
    "Fused",
    "Joined",
    "LegOfUnion",
    "bm25_alone",
    "explain",
    "explain_one_leg",
    "fuse",
    "join",
    "join_by_weights",
]

Floats = NDArray[np.float32]
Normaliser = Callable[[Floats, int], Floats]

LEGS = ("bm25", "knn")
"""Names of the legs, in the order of a fusion's weights."""

_FLOOR = np.float32(0.001)


@dataclass(frozen=True, slots=True)
class Fused:
    """One fused result. ``legs`` has an entry for each leg that found the document.

    A leg's ``share`` is the elasticity of the final score to the leg's normalised score: raise that by one per cent
    and the final score rises by ``share`` per cent. All combinations scale with their inputs, so shares sum to 1
    (Euler's theorem). Written out: w·s / Σ w·s for the arithmetic mean and RRF, w / Σ w for the geometric and
    (w/s) / Σ (w/s) for the harmonic mean, over the legs present. Where all terms are 0 (a leg's scores are 0)
    the legs present share equally.
    """

    id: str
    score: float
    legs: Mapping[str, Leg]


def _min_max(scores: Floats, rank_constant: int) -> Floats:
    low, high = scores.min(), scores.max()
    if low == high:
        return np.ones_like(scores)
    normalised: Floats = (scores - low) / (high - low)
    normalised[normalised == 0] = _FLOOR
    return normalised


def _from_zero(scores: Floats, rank_constant: int) -> Floats:
    high = scores.max()
    return scores / high if scores.min() < high else np.ones_like(scores)


def _l2(scores: Floats, rank_constant: int) -> Floats:
    # The running sum is single precision, hit after hit; numpy's sum adds pairwise, which rounds differently.
    norm = np.sqrt(np.add.accumulate(scores * scores)[-1])
    return scores / norm if norm > 0 else np.full_like(scores, _FLOOR)


def _z_score(scores: Floats, rank_constant: int) -> Floats:
    wide = scores.astype(np.float64)
    mean = np.float32(wide.mean())
    deviation = np.float32(wide.std(ddof=1)) if len(scores) > 1 else np.float32(0)
    if deviation > 0:
        normalised = (scores - mean) / deviation
        normalised[normalised <= 0] = _FLOOR
    else:
        normalised = np.full_like(scores, scores.min())
    normalised[scores == mean] = scores.max()
    return normalised


@lru_cache(maxsize=64)
def _reciprocals(count: int, rank_constant: int) -> Floats:
    """1 / (rank_constant + rank) for ranks 1 to ``count``, rounded half up to ten decimals (integer arithmetic)."""
    divisors = np.arange(1, count + 1, dtype=np.int64) + rank_constant
    return ((2 * 10**10 + divisors) // (2 * divisors) / 1e10).astype(np.float32)


def _rrf(scores: Floats, rank_constant: int) -> Floats:
    return _reciprocals(len(scores), rank_constant)


NORMALISERS: Mapping[Normalisation, tuple[Normaliser, Normaliser]] = {
    "min_max": (_min_max, _min_max),
    "min_max_from_zero": (_from_zero, _min_max),
    "l2": (_l2, _l2),
    "z_score": (_z_score, _z_score),
    "rrf": (_rrf, _rrf),
}
"""For the BM25 leg and for the k-NN leg: (the leg's raw scores, best first; the rank constant, used by ``rrf`` alone)
-> normalised scores. At least one hit."""


def _weighted_sum(scores: Floats, weights: Floats) -> Floats:
    total: Floats = scores[0] * weights[0] + scores[1] * weights[1]
    return total


def _arithmetic(scores: Floats, weights: Floats) -> Floats:
    mean: Floats = _weighted_sum(scores, weights) / (weights[0] + weights[1])
    return mean


def _geometric(scores: Floats, weights: Floats) -> Floats:
    present = scores > 0
    # Logarithms are double precision and each leg's addition is rounded to single, as on the server.
    logarithms = np.log(np.where(present, scores, 1).astype(np.float64))
    exponent = ((weights[0] * logarithms[0]).astype(np.float32) + weights[1] * logarithms[1]).astype(np.float32)
    total = _total_weight(present, weights)
    means = np.exp((exponent / np.where(total > 0, total, 1)).astype(np.float64)).astype(np.float32)
    return np.where(total > 0, means, np.float32(0))


def _harmonic(scores: Floats, weights: Floats) -> Floats:
    present = scores > 0
    divisors = np.where(present, scores, 1)
    total = present[0] * (weights[0] / divisors[0]) + present[1] * (weights[1] / divisors[1])
    return np.where(total > 0, _total_weight(present, weights) / np.where(total > 0, total, 1), np.float32(0))


def _total_weight(present: NDArray[np.bool_], weights: Floats) -> Floats:
    return _weighted_sum(present.astype(np.float32), weights)


COMBINATIONS: Mapping[Combination, Callable[[Floats, Floats], Floats]] = {
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "harmonic": _harmonic,
}
"""((2, n) normalised scores, 0 where a leg lacks the document; (2,) weights) -> (n,) final scores.

With (2, 1, n) scores and (2, w, 1) weights (w, n) final scores.
"""

_ELASTICITY_TERMS: Mapping[Combination, Callable[[float, float], float]] = {
    "arithmetic": lambda weight, score: weight * score,
    "geometric": lambda weight, score: weight,
    "harmonic": lambda weight, score: weight / score,
}


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The union of two legs and its arithmetic, a column for each document: BM25's first, then those of k-NN alone.

    :ivar raw: each leg's scores, best first.
    :ivar in_knn: (n,) a document's position in the k-NN leg, from 0; -1 if that leg did not find it.
    :ivar normalised: (2, n) normalised scores, 0 where the leg did not find the document.
    :ivar scores: (n,) final scores.
    """

    raw: tuple[NDArray[np.float64], NDArray[np.float64]]
    in_knn: NDArray[np.intp]
    normalised: Floats
    scores: Floats
    fusion: Fusion

    def top(self, count: int) -> NDArray[np.intp]:
        """Return the columns of the ``count`` best, best first, and of all that tie with the last of them."""
        order = (-self.scores).argsort(kind="stable")
        end = count
        while 0 < end < len(order) and self.scores[order[end]] == self.scores[order[count - 1]]:
            end += 1
        return order[:end]

    def legs(self, columns: Sequence[int]) -> list[dict[str, Leg]]:
        """Explain documents, given by their columns: what each leg that found them contributed."""
        bm25, knn = self.raw
        explained = []
        in_knn = self.in_knn[columns].tolist()
        for column, position, normalised in zip(columns, in_knn, self.normalised[:, columns].T.tolist(), strict=True):
            found = []
            if column < len(bm25):
                found.append((0, bm25.item(column), column + 1))
            if position >= 0:
                found.append((1, knn.item(position), position + 1))
            explained.append(_legs(found, normalised, self.fusion))
        return explained


def _legs(found: Sequence[tuple[int, float, int]], normalised: Sequence[float], fusion: Fusion) -> dict[str, Leg]:
    """Explain one document.

    :param found: (leg, raw score, rank) of each leg that found it.
    :param normalised: a normalised score for each leg there is.
    """
    term = _ELASTICITY_TERMS["arithmetic" if fusion.method == "rrf" else fusion.combination]
    terms = [term(fusion.weights[leg], normalised[leg]) if normalised[leg] else 0.0 for leg, _, _ in found]
    total = sum(terms)
    shares = [one / total for one in terms] if total else [1 / len(found)] * len(found)
    return {
        LEGS[leg]: Leg(score, rank, normalised[leg], fusion.weights[leg], share)
        for (leg, score, rank), share in zip(found, shares, strict=True)
    }


def join(bm25: NDArray[np.float64], knn: NDArray[np.float64], columns: NDArray[np.intp], fusion: Fusion) -> Joined:
    """Join two legs' scores.

    :param bm25: (m,) the BM25 leg's scores, best first; may be empty. All of them count in the normalisation, so the
        caller cuts a leg to ``fusion.window`` first.
    :param knn: the k-NN leg's, likewise.
    :param columns: (len(knn),) the column of each k-NN hit in the union: below m for documents that BM25 found too,
        and m, m + 1 and so on for the others.
    :param fusion: the caller leaves a leg of weight 0 empty.
    """
    size = max(len(bm25), int(columns.max(initial=-1)) + 1)
    in_knn = np.full(size, -1)
    in_knn[columns] = np.arange(len(knn))
    normalised = _normalised(((bm25, np.arange(len(bm25))), (knn, columns)), size, fusion)
    scores = _combination(fusion)(normalised, np.array(fusion.weights, np.float32))
    return Joined((bm25, knn), in_knn, normalised, scores, fusion)


LegOfUnion = tuple[NDArray[np.float64], NDArray[np.intp]]
"""A leg's scores, best first, and the column of each of its hits in the union."""


def join_by_weights(legs: tuple[LegOfUnion, LegOfUnion], size: int, fusion: Fusion, bm25_weights: Floats) -> Floats:
    """Join two legs with many weights at once; the scores are those of :func:`join`.

    :param legs: BM25's and k-NN's, cut to the fusion's window.
    :param size: number of columns; some may be in neither leg.
    :param fusion: its weights are ignored.
    :param bm25_weights: (w,) weights of BM25, 0..1.
    :return: (w, size) final scores; -inf for what no leg of a weight above 0 has found.
    """
    weights = np.array([(weight, round(1 - weight, 12)) for weight in bm25_weights.tolist()], np.float32).T
    found = np.zeros((2, size), np.bool_)
    for row, (_, columns) in enumerate(legs):
        found[row, columns] = True
    scores = _combination(fusion)(_normalised(legs, size, fusion)[:, None, :], weights[:, :, None])
    for leg, other in ((0, 1), (1, 0)):
        scores[np.ix_(weights[leg] == 0, ~found[other])] = -np.inf
    scores[:, ~found.any(axis=0)] = -np.inf
    return scores


def _normalised(legs: Sequence[LegOfUnion], size: int, fusion: Fusion) -> Floats:
    normalised = np.zeros((2, size), dtype=np.float32)
    for row, ((scores, columns), normalise) in enumerate(zip(legs, NORMALISERS[fusion.method], strict=True)):
        if len(scores):
            normalised[row, columns] = normalise(scores.astype(np.float32), fusion.rank_constant)
    return normalised


def _combination(fusion: Fusion) -> Callable[[Floats, Floats], Floats]:
    return _weighted_sum if fusion.method == "rrf" else COMBINATIONS[fusion.combination]


@lru_cache(maxsize=64)
def bm25_alone(fusion: Fusion) -> Fusion:
    """Return the fusion for a query that has no vector: BM25 alone, whatever the weight of the leg that is empty.

    With the weights (0, 1) all its hits would tie.
    """
    return fusion.replace(weights=(1.0, 0.0))


def fuse(bm25: Ranking, knn: Ranking, fusion: Fusion, *, top: int | None = None) -> list[Fused]:
    """Join two rankings of one query into one.

    :param bm25: the BM25 leg's window, best first, each document once; may be empty; see :func:`join`.
    :param knn: the k-NN leg's window, likewise.
    :param top: return only this many of the best, which is much cheaper than all; None for all.
    :return: the union of both legs, score descending, then id ascending; scores are float32 values.
    """
    bm25, knn = _counting(bm25, knn, fusion)
    ids, columns = _union(bm25, knn)
    if not ids:
        return []
    joined = join(np.array(bm25.scores, np.float64), np.array(knn.scores, np.float64), columns, fusion)
    best = joined.top(len(ids) if top is None else top)
    # Already sorted by score, so this only settles the ties: close to linear.
    scored = zip(joined.scores[best].tolist(), best.tolist(), strict=True)
    ordered = sorted((-score, ids[column], column) for score, column in scored)[:top]
    legs = joined.legs([column for _, _, column in ordered])
    return [Fused(id, -score, of_document) for (score, id, _), of_document in zip(ordered, legs, strict=True)]


def explain(bm25: Ranking, knn: Ranking, fusion: Fusion, ids: Iterable[str]) -> dict[str, dict[str, Leg]]:
    """Return what each leg contributed to some documents, with the numbers of :func:`fuse`, without fusing.

    :return: id -> leg -> contribution; documents that no leg found have no legs.
    """
    rankings = _counting(bm25, knn, fusion)
    scores = [
        normalise(np.array(leg.scores, dtype=np.float32), fusion.rank_constant).tolist() if leg.ids else []
        for leg, normalise in zip(rankings, NORMALISERS[fusion.method], strict=True)
    ]
    positions = [dict(zip(leg.ids, range(len(leg)), strict=True)) for leg in rankings]
    explained = {}
    for id in ids:
        found = [
            (leg, rankings[leg].scores[position], position + 1)
            for leg in (0, 1)
            if (position := positions[leg].get(id)) is not None
        ]
        normalised = [0.0, 0.0]
        for leg, _, rank in found:
            normalised[leg] = scores[leg][rank - 1]
        explained[id] = _legs(found, normalised, fusion) if found else {}
    return explained


def explain_one_leg(leg: str, score: float, rank: int) -> dict[str, Leg]:
    """Return what there is to say of a hit that one leg alone ranked."""
    return {leg: Leg(score, rank, normalised=score, weight=1.0, share=1.0)}


def _counting(bm25: Ranking, knn: Ranking, fusion: Fusion) -> tuple[Ranking, Ranking]:
    """Empty a leg of weight 0."""
    nothing = Ranking((), ())
    return (bm25 if fusion.weights[0] else nothing, knn if fusion.weights[1] else nothing)


def _union(bm25: Ranking, knn: Ranking) -> tuple[list[str], NDArray[np.intp]]:
    """List all ids, BM25's first and in its order, and the column of each k-NN hit in that list."""
    column_of = dict(zip(bm25.ids, range(len(bm25)), strict=True))
    columns = np.array([column_of.get(id, -1) for id in knn.ids], dtype=np.intp)
    new = np.flatnonzero(columns < 0)
    columns[new] = np.arange(len(bm25), len(bm25) + len(new))
    return [*bm25.ids, *(knn.ids[position] for position in new.tolist())], columns
