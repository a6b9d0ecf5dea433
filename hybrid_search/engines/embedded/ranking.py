"""Cutting scored rows at k in the order used everywhere: score descending, then id ascending."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.row_ids import RowIds

__all__ = ["ScoredRows", "best", "joined", "settled"]

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """A ranking before its ids are looked up: (n,) rows and their (n,) scores, best first, ties by id."""

    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    scores: Scores = field(default_factory=lambda: np.empty(0, np.float64))


def best(rows: Rows, scores: Scores, k: int, ids: RowIds) -> ScoredRows:
    """Cut scored rows at the k best, exact among ties at the cut.

    :param rows: (n,) distinct rows; those whose document is gone are left out.
    :param scores: (n,) their scores, descending.
    """
    there = ids.there(rows)
    if not there.all():
        rows, scores = rows[there], scores[there]
    end = k
    while end < len(scores) and scores[end] == scores[k - 1]:
        end += 1
    rows, scores = rows[:end], scores[:end]
    return ScoredRows(settled(rows, scores, ids)[:k], scores[:k])


def joined(scores: Scores, noise: float) -> Scores:
    """Give scores that differ by rounding alone one value, (n,) descending -> (n,).

    :param noise: how far apart two neighbours may be, as a share of the higher one.
    """
    starts = np.arange(len(scores))
    starts[1:][scores[1:] >= scores[:-1] * (1 - noise)] = 0
    return scores[np.maximum.accumulate(starts)]


def settled(rows: Rows, scores: NDArray[np.floating], ids: RowIds) -> Rows:
    """Order each run of equal scores by id; only the ids of such runs are looked up.

    :param scores: (n,) descending.
    :return: (n,) the rows in the ranking order.
    """
    tied = scores[1:] == scores[:-1]
    if not tied.any():
        return rows
    member = np.zeros(len(rows), bool)
    member[1:] = tied
    run = (~member).cumsum()  # goes up where a run, or a row of its own, begins
    member[:-1] |= tied
    of_runs = rows[member]
    names = [id or "" for id in ids.ids(of_runs)]
    by_id = sorted(zip(run[member].tolist(), names, of_runs.tolist(), strict=True))
    rows = rows.copy()
    rows[member] = [row for _, _, row in by_id]
    return rows
