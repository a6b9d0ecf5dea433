"""Batches of texts with a teacher's vectors, for the loss ``align``. Layer 3."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hybrid_search.config import TrainConfig
from hybrid_search.errors import TrainingError
from hybrid_search.training.alignment import Alignment
from hybrid_search.training.batches import Batch, Batches
from hybrid_search.training.data import TrainingData
from hybrid_search.training.rows import pad

__all__ = ["AlignedBatches", "batches_of"]

_EPOCHS = 6


class AlignedBatches:
    """Makes the batch of any step: texts in an order that seed and epoch decide."""

    def __init__(self, alignment: Alignment, config: TrainConfig) -> None:
        self._alignment = alignment
        self._size = min(config.batch_size, len(alignment.texts))
        self._seed = config.seed
        self.per_epoch = len(alignment.texts) // self._size
        steps = (config.epochs or _EPOCHS) * self.per_epoch
        self.steps = min(steps, config.max_steps or steps)
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def at(self, step: int) -> Batch:
        """Make the batch of a step, 0-based."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._alignment.texts))
            self._epoch = epoch
        rows = self._order[place * self._size : (place + 1) * self._size]
        queries, documents, targets = self._alignment.chosen(rows)
        mask = torch.zeros(len(queries), len(documents), dtype=torch.bool)
        return Batch(pad(queries), pad(documents), mask, targets=targets)


def batches_of(data: TrainingData, config: TrainConfig) -> Batches | AlignedBatches:
    """Return what makes a run's batches.

    :raises TrainingError: if the loss needs a teacher's vectors and the data has none.
    """
    if config.loss != "align":
        return Batches(data, config)
    if data.alignment is None:
        raise TrainingError("the loss 'align' needs a teacher's vectors; give --teacher")
    return AlignedBatches(data.alignment, config)
