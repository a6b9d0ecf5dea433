"""Measures many fusions of the same two legs: what fusing a query costs is paid once for all weights.

The scores are those of :func:`hybrid_search.fusion.join`, the order is that of :func:`hybrid_search.fusion.fuse`, and
the measures are ir-measures'. Most settings rank a query's first documents alike, so each different ranking is measured
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import UsageError
from hybrid_search.evaluation.measures import PRIMARY, Measurer, Qrels, cutoff_of
from hybrid_search.fusion import LegOfUnion, join_by_weights
from hybrid_search.protocols import Task
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Ranking

__all__ = ["GRID", "FusionTable", "Values", "weighted"]

Values = NDArray[np.float64]

_STEPS = 20
GRID = tuple(step / _STEPS for step in range(_STEPS + 1))
"""The weights of BM25 to try, from k-NN alone to BM25 alone."""


def weighted(fusion: Fusion, bm25_weight: float) -> Fusion:
    """Return the fusion with another weight of BM25; k-NN gets the rest."""
    return fusion.replace(weights=(bm25_weight, round(1 - bm25_weight, 12)))


@dataclass(slots=True, eq=False)
class _Legs:
    """A query's legs; documents are numbered in the order of their ids, by which ties are broken.

    :ivar rankings: the numbers of a ranking's first documents, as bytes -> its place among the measured ones.
    :ivar windows: window -> the numbers of the documents in it, ascending, and both legs cut to it.
    """

    ids: list[str]
    bm25: LegOfUnion
    knn: LegOfUnion
    rankings: dict[bytes, int] = field(default_factory=dict)
    windows: dict[int, tuple[NDArray[np.intp], tuple[LegOfUnion, LegOfUnion]]] = field(default_factory=dict)

    @classmethod
    def of(cls, bm25: Ranking, knn: Ranking) -> _Legs:
        ids = sorted({*bm25.ids, *knn.ids})
        number = dict(zip(ids, range(len(ids)), strict=True))
        legs = [
            (np.array(leg.scores, np.float64), np.array([number[id] for id in leg.ids], np.intp)) for leg in (bm25, knn)
        ]
        return cls(ids, legs[0], legs[1])

    def scores(self, fusion: Fusion, bm25_weights: Sequence[float]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the numbers of the documents in the fusion's window, ascending, and their scores by weight."""
        numbers, legs = self.windows.get(fusion.window) or self._cut(fusion.window)
        # A query without a vector is answered by BM25 alone, whatever its weight; see hybrid_search.fusion.bm25_alone.
        weights = np.array(bm25_weights if len(self.knn[0]) else [1.0] * len(bm25_weights))
        return numbers, join_by_weights(legs, len(numbers), fusion, weights)

    def _cut(self, window: int) -> tuple[NDArray[np.intp], tuple[LegOfUnion, LegOfUnion]]:
        numbers = np.union1d(self.bm25[1][:window], self.knn[1][:window])
        bm25, knn = ((leg[0][:window], np.searchsorted(numbers, leg[1][:window])) for leg in (self.bm25, self.knn))
        self.windows[window] = numbers, (bm25, knn)
        return self.windows[window]


class FusionTable:
    """The values of a measure by (setting, query).

    :param bm25: query id -> the BM25 leg, down to the deepest window; queries without judgements are ignored.
    :param knn: query id -> the k-NN leg, of the same queries.
    :param qrels: of queries that are among the legs'.
    :raises UsageError: if the legs are of different queries, or there is no such measure.
    """

    def __init__(
        self, bm25: Mapping[str, Ranking], knn: Mapping[str, Ranking], qrels: Qrels, *, measure: str = PRIMARY
    ) -> None:
        if bm25.keys() != knn.keys():
            raise UsageError(f"the legs are of different queries: {len(bm25)} for BM25, {len(knn)} for k-NN")
        self._measurer, self._cut = Measurer(qrels, names=(measure,)), cutoff_of(measure)
        self._legs = {query: _Legs.of(bm25[query], knn[query]) for query in qrels.grades}

    @property
    def queries(self) -> tuple[str, ...]:
        """The ids of the queries, in the order of the columns."""
        return tuple(self._legs)

    def values(self, fusion: Fusion, bm25_weights: Sequence[float] = GRID) -> Values:
        """Measure a fusion with each of some weights of BM25: (weights, queries)."""
        values: Values = self.of_families([fusion], bm25_weights)[0]
        return values

    def of_families(
        self, fusions: Sequence[Fusion], bm25_weights: Sequence[float] = GRID, *, task: Task | None = None
    ) -> Values:
        """Measure fusions, each with each of some weights of BM25: (fusions, weights, queries).

        :param task: advanced by one per fusion.
        """
        places = np.zeros((len(fusions), len(bm25_weights), len(self._legs)), np.intp)
        for row, fusion in enumerate(fusions):
            for column, legs in enumerate(self._legs.values()):
                places[row, :, column] = [self._place(legs, top) for top in self._tops(legs, fusion, bm25_weights)]
            if task is not None:
                task.advance()
        measured = self._measured()
        return np.stack([values[places[:, :, column]] for column, values in enumerate(measured)], axis=2)

    def _tops(self, legs: _Legs, fusion: Fusion, bm25_weights: Sequence[float]) -> NDArray[np.int32]:
        """Return the numbers of the first documents by weight, (weights, cut), -1 where no more are found."""
        if not legs.ids:
            return np.full((len(bm25_weights), 1), -1, np.int32)
        numbers, scores = legs.scores(fusion, bm25_weights)
        keys = _descending(scores)
        if self._cut is not None and self._cut < keys.shape[1]:
            keys = np.partition(keys, self._cut - 1, axis=1)[:, : self._cut]
        columns = np.sort(keys, axis=1) & _NUMBER
        found = np.isfinite(np.take_along_axis(scores, columns, axis=1))
        return np.where(found, numbers[columns], -1).astype(np.int32)

    @staticmethod
    def _place(legs: _Legs, top: NDArray[np.int32]) -> int:
        return legs.rankings.setdefault(top.tobytes(), len(legs.rankings))

    def _measured(self) -> list[Values]:
        """Return per query the values of its rankings: in each round one of every query that has more of them."""
        values = [np.zeros(len(legs.rankings)) for legs in self._legs.values()]
        column = dict(zip(self._legs, range(len(self._legs)), strict=True))
        left = {query: list(legs.rankings) for query, legs in self._legs.items()}
        place = 0
        while left := {query: rankings for query, rankings in left.items() if place < len(rankings)}:
            run = {query: _ranking(self._legs[query].ids, rankings[place]) for query, rankings in left.items()}
            (measured,) = self._measurer(run).values()
            for query in run:
                values[column[query]][place] = measured[query]
            place += 1
        return values


_BITS = 32
_NUMBER = np.int64(2**_BITS - 1)


def _descending(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return keys that sort by score, descending, then by column: (w, n) -> (w, n).

    :param scores: 0 or more, or -inf: the bits of such numbers are in their order.
    """
    keys = scores.view(np.int32).astype(np.int64)
    keys *= -(2**_BITS)
    keys += np.arange(scores.shape[1], dtype=np.int64)
    return keys


def _ranking(ids: Sequence[str], top: bytes) -> Ranking:
    found = tuple(ids[number] for number in np.frombuffer(top, np.int32).tolist() if number >= 0)
    return Ranking(found, (0.0,) * len(found))  # only the order is measured
