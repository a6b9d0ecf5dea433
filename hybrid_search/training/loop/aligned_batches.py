"""Batches of texts with a teacher's vectors, for the loss ``align``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hybrid_search.errors import TrainingError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import pad
from hybrid_search.training.loop.batches import Batch, Batches

__all__ = ["AlignedBatches", "batches_of"]

_EPOCHS = 6


class AlignedBatches:
    """Makes the batch of any step: of each kind of text its share, drawn anew by seed and step.

    The shares matter because queries are few and short: left to their number they are a fifteenth of a batch.
    """

    def __init__(self, alignment: Alignment, config: TrainConfig) -> None:
        self._alignment = alignment
        self._seed = config.seed
        steps = (config.epochs or _EPOCHS) * max(1, len(alignment.texts) // config.batch_size)
        self.steps = min(steps, config.max_steps or steps)
        self._starts = np.cumsum([0, *(kind.texts for kind in alignment.kinds)])
        self._drawn = _apportioned([kind.share if kind.texts else 0 for kind in alignment.kinds], config.batch_size)

    def at(self, step: int) -> Batch:
        """Make the batch of a step, 0-based."""
        generator = np.random.default_rng([self._seed, 0, step])
        rows = np.concatenate([
            generator.integers(first, last, count)
            for first, last, count in zip(self._starts, self._starts[1:], self._drawn, strict=False)
        ])  # fmt: skip
        queries, documents, targets = self._alignment.chosen(rows)
        mask = torch.zeros(len(queries), len(documents), dtype=torch.bool)
        return Batch(pad(queries), pad(documents), mask, targets=targets)


def _apportioned(shares: list[float], size: int) -> NDArray[np.int64]:
    """Divide a batch by shares; what rounding leaves goes to the largest."""
    wanted = np.array(shares) / sum(shares) * size
    counts = np.floor(wanted).astype(np.int64)
    counts[wanted.argmax()] += size - counts.sum()
    return counts


def batches_of(data: TrainingData, config: TrainConfig) -> Batches | AlignedBatches:
    """Return what makes a run's batches.

    :raises TrainingError: if the loss needs a teacher's vectors and the data has none.
    """
    if config.loss != "align":
        return Batches(data, config)
    if data.alignment is None:
        raise TrainingError("the loss 'align' needs a teacher's vectors; give --teacher")
    return AlignedBatches(data.alignment, config)
