"""Fusion of the BM25 and k-NN legs: the reference arithmetic of both engines. Layer 1.

The numbers are those of OpenSearch's normalization and score-ranker processors, to the bit where single precision
allows it: scores are float32, each leg is normalised over the hits that it returned (its window), then the legs'
normalised scores are joined with the weights. Two tables hold the techniques: :data:`NORMALISERS` and
:data:`COMBINATIONS`.

Quirks that are OpenSearch's and are kept on purpose:

- ``min_max`` gives the last hit of a leg 0.001, and 1.0 to every hit of a leg whose scores are all equal; a lone hit
  therefore gets 1.0 however poor it is;
- ``z_score`` gives a hit that scores exactly the leg's mean the leg's raw maximum: a lone BM25 hit of 12.4 gets 12.4;
- the arithmetic mean counts a missing leg as 0, the geometric and harmonic means leave it out: there a document found
  last by one leg sinks below documents that this leg did not find at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hybrid_search.config import Combination, Fusion, Normalisation
from hybrid_search.types import Leg, Ranking

__all__ = ["COMBINATIONS", "LEGS", "NORMALISERS", "Fused", "fuse"]

Floats = NDArray[np.float32]

LEGS = ("bm25", "knn")
"""Names of the legs, in the order of a fusion's weights."""

_FLOOR = np.float32(0.001)


@dataclass(frozen=True, slots=True)
class Fused:
    """One fused result. ``legs`` has an entry for each leg that found the document.

    A leg's ``share`` is the elasticity of the final score to the leg's normalised score: raise that by one per cent
    and the final score rises by ``share`` per cent. All combinations scale with their inputs, so shares sum to 1
    (Euler's theorem). Written out: w·s / Σ w·s for the arithmetic mean and RRF, w / Σ w for the geometric and
    (w/s) / Σ (w/s) for the harmonic mean, over the legs present. Where all terms are 0 (the only leg that found
    the document has weight 0) the legs present share equally.
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


NORMALISERS: Mapping[Normalisation, Callable[[Floats, int], Floats]] = {
    "min_max": _min_max,
    "l2": _l2,
    "z_score": _z_score,
    "rrf": _rrf,
}
"""(a leg's raw scores, best first; the rank constant, used by ``rrf`` alone) -> normalised scores. At least one hit."""


def _weighted_sum(scores: Floats, weights: Floats) -> Floats:
    total: Floats = scores[0] * weights[0] + scores[1] * weights[1]
    return total


def _arithmetic(scores: Floats, weights: Floats) -> Floats:
    mean: Floats = _weighted_sum(scores, weights) / (weights[0] + weights[1])
    return mean


def _geometric(scores: Floats, weights: Floats) -> Floats:
    present = scores > 0
    # Logarithms are double precision and each leg's addition is rounded to single, as on the server.
    terms = weights[:, None] * np.log(np.where(present, scores, 1).astype(np.float64))
    exponent = (terms[0].astype(np.float32) + terms[1]).astype(np.float32)
    total = _total_weight(present, weights)
    means = np.exp((exponent / np.where(total > 0, total, 1)).astype(np.float64)).astype(np.float32)
    return np.where(total > 0, means, np.float32(0))


def _harmonic(scores: Floats, weights: Floats) -> Floats:
    present = scores > 0
    terms = np.where(present, weights[:, None] / np.where(present, scores, 1), np.float32(0))
    total = terms[0] + terms[1]
    return np.where(total > 0, _total_weight(present, weights) / np.where(total > 0, total, 1), np.float32(0))


def _total_weight(present: NDArray[np.bool_], weights: Floats) -> Floats:
    return _weighted_sum(present.astype(np.float32), weights)


COMBINATIONS: Mapping[Combination, Callable[[Floats, Floats], Floats]] = {
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "harmonic": _harmonic,
}
"""((2, n) normalised scores, 0 where a leg lacks the document; (2,) weights) -> (n,) final scores."""

_ELASTICITY_TERMS: Mapping[Combination, Callable[[float, float], float]] = {
    "arithmetic": lambda weight, score: weight * score,
    "geometric": lambda weight, score: weight,
    "harmonic": lambda weight, score: weight / score,
}


def fuse(bm25: Ranking, knn: Ranking, fusion: Fusion, *, top: int | None = None) -> list[Fused]:
    """Join two rankings of one query into one.

    :param bm25: the BM25 leg's window, best first, each document once; may be empty. Cutting it to
        ``fusion.window`` is the caller's work: what is given is what the scores are normalised over.
    :param knn: the k-NN leg's window, likewise.
    :param top: return only this many of the best, which is much cheaper than all; None for all.
    :return: the union of both legs, score descending, then id ascending; scores are float32 values.
    """
    ids, columns = _union(bm25, knn)
    if not ids:
        return []
    normalised = np.zeros((2, len(ids)), dtype=np.float32)
    normalise = NORMALISERS[fusion.method]
    if bm25.ids:
        normalised[0, : len(bm25)] = normalise(np.array(bm25.scores, dtype=np.float32), fusion.rank_constant)
    if knn.ids:
        normalised[1, columns] = normalise(np.array(knn.scores, dtype=np.float32), fusion.rank_constant)
    combine = _weighted_sum if fusion.method == "rrf" else COMBINATIONS[fusion.combination]
    scores = combine(normalised, np.array(fusion.weights, dtype=np.float32))
    best = _best(ids, scores, len(ids) if top is None else top)
    in_knn = np.full(len(ids), -1)
    in_knn[columns] = np.arange(len(knn))
    results = []
    for score, id, column in best:
        places = (column if column < len(bm25) else -1, int(in_knn[column]))
        results.append(Fused(id, score, _legs((bm25, knn), places, normalised[:, column].tolist(), fusion)))
    return results


def _union(bm25: Ranking, knn: Ranking) -> tuple[list[str], NDArray[np.intp]]:
    """List all ids, BM25's first and in its order, and the column of each k-NN hit in that list."""
    column_of = dict(zip(bm25.ids, range(len(bm25)), strict=True))
    columns = np.array([column_of.get(id, -1) for id in knn.ids], dtype=np.intp)
    new = np.flatnonzero(columns < 0)
    columns[new] = np.arange(len(bm25), len(bm25) + len(new))
    return [*bm25.ids, *(knn.ids[place] for place in new.tolist())], columns


def _best(ids: list[str], scores: Floats, top: int) -> list[tuple[float, str, int]]:
    """Return (score, id, column) of the ``top`` best; ties at the cut are decided by id, as everywhere."""
    order = np.argsort(-scores, kind="stable")
    if 0 < top < len(order):
        order = order[: np.searchsorted(-scores[order], -scores[order[top - 1]], side="right")]
    # Already sorted by score, so this only settles the ties: close to linear.
    places = zip(scores[order].tolist(), order.tolist(), strict=True)
    ordered = sorted((-score, ids[column], column) for score, column in places)
    return [(-score, id, column) for score, id, column in ordered[:top]]


def _legs(
    rankings: tuple[Ranking, Ranking], places: tuple[int, int], normalised: list[float], fusion: Fusion
) -> dict[str, Leg]:
    """Explain one document: what each leg that found it (its place is not -1) contributed."""
    found = [leg for leg in (0, 1) if places[leg] >= 0]
    term = _ELASTICITY_TERMS["arithmetic" if fusion.method == "rrf" else fusion.combination]
    terms = {leg: term(fusion.weights[leg], normalised[leg]) if normalised[leg] else 0.0 for leg in found}
    total = sum(terms.values())
    legs = {}
    for leg in found:
        place = places[leg]
        share = terms[leg] / total if total else 1 / len(found)
        legs[LEGS[leg]] = Leg(rankings[leg].scores[place], place + 1, normalised[leg], fusion.weights[leg], share)
    return legs
