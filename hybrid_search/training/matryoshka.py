"""Vectors whose first numbers are vectors of their own: Matryoshka learning (Kusupati et al. 2022). Layer 3."""

from __future__ import annotations

from torch import Tensor

from hybrid_search.config import Similarity
from hybrid_search.errors import ConfigError
from hybrid_search.towers.heads import unit_or_zero
from hybrid_search.train_config import TowerConfig, TrainConfig

__all__ = ["check_sizes", "first_numbers"]


def check_sizes(towers: TowerConfig, config: TrainConfig) -> None:
    """Check that every size of a run is shorter than its vectors.

    :raises ConfigError: naming the one that is not.
    """
    for size in config.matryoshka:
        if size >= towers.dimension:
            raise ConfigError(
                f"matryoshka has the size {size}; it must be below the dimension, {towers.dimension}, "
                "whose loss is always taken"
            )


def first_numbers(vectors: Tensor, size: int, similarity: Similarity) -> Tensor:
    """Cut (n, d) vectors to their first numbers: (n, size), of unit length again with cosine similarity."""
    if not len(vectors):
        return vectors
    return unit_or_zero(vectors[:, :size]) if similarity == "cosine" else vectors[:, :size]
