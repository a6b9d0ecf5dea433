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
    pairs = zip(store.ids(rows.tolist()), scores.tolist(), strict=True)
    found = [(-score, id) for id, score in pairs if id is not None]
    found.sort()
    del found[k:]
    return Ranking(tuple([id for _, id in found]), tuple([-score for score, _ in found]))
