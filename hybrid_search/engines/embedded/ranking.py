"""Cutting scored rows at k in the order used everywhere: score descending, then id ascending."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store import Store
from hybrid_search.types import Ranking

__all__ = ["EMPTY", "SPARE", "best"]

EMPTY = Ranking((), ())

SPARE = 16
"""Candidates fetched beyond k, so that a short run of ties at the cut needs no second search."""


def best(rows: NDArray[np.int64], scores: NDArray[np.float64], k: int, store: Store) -> Ranking:
    """Return the k best of scored rows, exact among ties at the cut.

    :param rows: (n,) distinct rows; those whose document is gone are left out.
    :param scores: (n,) their scores.
    """
    if len(rows) > k:
        keep = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        rows, scores = rows[keep], scores[keep]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    ids = store.ids(rows[order])
    values = scores.tolist()
    if None in ids:
        values = [score for id, score in zip(ids, values, strict=True) if id is not None]
        scores = np.array(values)
    present = [id for id in ids if id is not None]
    _order_ties(present, scores)
    return Ranking(tuple(present[:k]), tuple(values[:k]))


def _order_ties(ids: list[str], scores: NDArray[np.float64]) -> None:
    """Sort the ids of each run of equal scores, in place; the runs are few and short."""
    tied = np.flatnonzero(scores[1:] == scores[:-1]).tolist()
    at = 0
    while at < len(tied):
        first = tied[at]
        while at + 1 < len(tied) and tied[at + 1] == tied[at] + 1:
            at += 1
        last = tied[at] + 1
        ids[first : last + 1] = sorted(ids[first : last + 1])
        at += 1
