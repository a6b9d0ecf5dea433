"""What a set of vectors looks like: the dimensions it uses, how alike its vectors are, which are everybody's neighbour.

Vectors of length zero (texts without a known word) are left out everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import MissingExtra
from hybrid_search.protocols import Vectors

__all__ = ["Hubness", "Separation", "dead_dimensions", "effective_rank", "hubness", "mean_cosine", "separation"]

_DEAD = 0.01
_BLOCK = 512


def unit(vectors: Vectors) -> Vectors:
    """Return the vectors that are not zero, each of length 1: (n, dimension)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: Vectors = (vectors / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    return kept


def effective_rank(vectors: Vectors) -> float:
    """Return how many directions the vectors use: the exponential of the entropy of their singular values' shares.

    This is the effective rank of Roy and Vetterli (2007) of the centred vectors: from 1, all on a line, to the
    dimension.
    """
    points = unit(vectors)
    if len(points) < 2:
        return 0.0
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False).astype(np.float64)
    if not singular.sum():
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def dead_dimensions(vectors: Vectors) -> int:
    """Count the dimensions whose deviation is below a hundredth of the mean deviation of all."""
    points = unit(vectors)
    if not len(points):
        return 0
    deviations = points.std(axis=0)
    return int((deviations <= _DEAD * deviations.mean()).sum())


def mean_cosine(vectors: Vectors) -> float:
    """Return the mean cosine of two different vectors: 0 for evenly spread ones, 1 where all are the same."""
    points = unit(vectors).astype(np.float64)
    if len(points) < 2:
        return 0.0
    total = float((points.sum(axis=0) ** 2).sum())
    return (total - len(points)) / (len(points) * (len(points) - 1))


@dataclass(frozen=True, slots=True)
class Hubness:
    """How unevenly vectors are among the ``k`` nearest neighbours of the others.

    :ivar skewness: of how often each is: 0 if evenly, high if few are everybody's neighbours (Radovanović et al. 2010).
    :ivar share: of all neighbours, those that the most frequent hundredth of the vectors makes up; .01 if evenly.
    :ivar never: share of the vectors that are nobody's neighbour.
    :ivar hubs: rows of the most frequent ones among the vectors given, and how often they are neighbours.
    """

    k: int
    skewness: float
    share: float
    never: float
    hubs: tuple[tuple[int, int], ...]


def hubness(vectors: Vectors, k: int = 10, *, named: int = 3) -> Hubness:
    """Count how often each vector is among the k nearest of another, by cosine and exactly.

    :raises MissingExtra: if scipy is not installed.
    """
    try:
        from scipy.stats import skew
    except ModuleNotFoundError as error:
        raise MissingExtra("scipy", "train") from error
    rows = np.flatnonzero(vectors.any(axis=1))
    points, k = unit(vectors), min(k, max(len(rows) - 1, 0))
    if not k:
        return Hubness(0, 0.0, 0.0, 0.0, ())
    counts = np.zeros(len(points), np.int64)
    for first in range(0, len(points), _BLOCK):
        cosines = points[first : first + _BLOCK] @ points.T
        own = np.arange(len(cosines))
        cosines[own, first + own] = -np.inf
        np.add.at(counts, np.argpartition(-cosines, k - 1, axis=1)[:, :k].ravel(), 1)
    order = np.argsort(-counts, kind="stable")
    return Hubness(
        k=k,
        skewness=float(skew(counts)) if counts.std() else 0.0,
        share=float(counts[order[: max(1, len(counts) // 100)]].sum() / counts.sum()),
        never=float((counts == 0).mean()),
        hubs=tuple((int(rows[row]), int(counts[row])) for row in order[:named]),
    )


@dataclass(frozen=True, slots=True)
class Separation:
    """Cosines of queries with their answers, against those with random documents.

    :ivar positives: mean cosine of a query with a relevant document; ``randoms`` with a random one.
    :ivar auc: share of such pairs of cosines in which the answer's is the higher one: 1 if they do not overlap, .5 by
        chance.
    """

    positives: float
    randoms: float
    auc: float


def separation(positives: NDArray[np.float32], randoms: NDArray[np.float32]) -> Separation | None:
    """Compare two samples of cosines, (n,) and (m,); None if one is empty.

    :raises MissingExtra: if scipy is not installed.
    """
    if not len(positives) or not len(randoms):
        return None
    try:
        from scipy.stats import mannwhitneyu
    except ModuleNotFoundError as error:
        raise MissingExtra("scipy", "train") from error
    above = float(mannwhitneyu(positives, randoms).statistic) / (len(positives) * len(randoms))
    return Separation(float(positives.mean()), float(randoms.mean()), above)
