"""Draws the hard negatives of an example at a step, from several sources with shares that change over the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hybrid_search.settings.training import NegativeSource, TrainConfig
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Int32, Rows

__all__ = ["NegativeSampler", "mix_at"]

Mix = Mapping[NegativeSource, float]

_TRIES = 8


def mix_at(schedule: tuple[tuple[float, dict[NegativeSource, float]], ...], done: float) -> Mix:
    """Return the shares of the sources when this share of the run (0..1) is done."""
    mix = schedule[0][1]
    for start, later in schedule:
        if done >= start:
            mix = later
    return mix


class NegativeSampler:
    """Draws hard negatives. The same seed and step give the same negatives, as a resumed run needs.

    For losses on a teacher's scores, only the query's scored documents are candidates, and the schedule is not used.
    """

    def __init__(self, data: TrainingData, config: TrainConfig, steps: int) -> None:
        self._data = data
        self._config = config
        self._steps = max(1, steps)
        self.each = max(1, config.hard_negatives) if data.teacher_negatives is not None else config.hard_negatives

    def draw(self, queries: Int32, step: int) -> NDArray[np.int64]:
        """Draw negatives for the queries of a batch.

        A source without negatives for a query is replaced by ``random``.

        :param queries: (b,) query rows.
        :return: (b, k) document rows; not a known positive, unless nearly all documents are.
        """
        generator = np.random.default_rng([self._config.seed, 1, step])
        if self._data.teacher_negatives is not None:
            return np.array([self._pick(self._data.teacher_negatives, int(q), generator, self.each) for q in queries])
        mix = mix_at(self._config.negatives, step / self._steps)
        names, shares = list(mix), np.array(list(mix.values()))
        sources = generator.choice(len(names), (len(queries), self.each), p=shares / shares.sum())
        drawn = np.zeros((len(queries), self.each), dtype=np.int64)
        for i, query in enumerate(queries):
            for source in np.unique(sources[i]):
                columns = np.flatnonzero(sources[i] == source)
                drawn[i, columns] = self._from(names[source], int(query), generator, len(columns))
        return drawn

    def _from(
        self, source: NegativeSource, query: int, generator: np.random.Generator, count: int
    ) -> NDArray[np.int64]:
        pool = self._data.negatives.get(source)
        if source == "random" or pool is None or not len(pool[query]):
            return self._random(query, generator, count)
        return self._pick(pool, query, generator, count)

    def _pick(self, pools: Rows, query: int, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        pool = pools[query]
        return generator.choice(pool, count, replace=len(pool) < count).astype(np.int64)

    def _random(self, query: int, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        positives = self._data.positives[query]
        rows = generator.integers(len(self._data.documents), size=count)
        for _ in range(_TRIES):
            wrong = np.isin(rows, positives)
            if not wrong.any():
                break
            rows[wrong] = generator.integers(len(self._data.documents), size=int(wrong.sum()))
        return rows
