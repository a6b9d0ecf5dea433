"""Towers cut to the first numbers of their vectors. Layer 2, torch."""

from __future__ import annotations

import torch

from hybrid_search.errors import ConfigError
from hybrid_search.towers.two_tower import TwoTower

__all__ = ["shortened"]


def shortened(towers: TwoTower, dimension: int) -> TwoTower:
    """Make towers that give the first ``dimension`` numbers of these towers' vectors, of unit length with cosine.

    Only the last layers know the dimension: their rows beyond it are left out, so the towers that come out are of the
    usual kind.

    :raises ConfigError: if the vectors are no longer than that, or no layer is there to cut (``head_layers`` 0).
    """
    whole = towers.config.dimension
    if not 1 <= dimension < whole:
        raise ConfigError(f"dimension is {dimension}; it must be from 1 to below the model's, {whole}")
    if towers.config.head_layers == 0:
        raise ConfigError("head_layers is 0; vectors that come straight from the encoder can't be shortened")
    made = TwoTower(towers.config.replace(dimension=dimension), towers.vocabulary_size)
    stored = dict(towers.named_parameters())
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.copy_(stored[name][: len(weight)])
    return made.train(towers.training)
