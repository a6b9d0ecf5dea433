"""The head: fully connected layers from a pooled state to the tower's vector. Layer 2, torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybrid_search.errors import ConfigError
from hybrid_search.train_config import TowerConfig

__all__ = ["build_head", "unit_or_zero"]


def build_head(width: int, config: TowerConfig) -> nn.Sequential:
    """Build ``head_layers`` fully connected layers from ``width`` to ``dimension``.

    Dropout before each layer; LayerNorm (if asked for) and ReLU after each but the last. With a residual path the last
    layer starts at zero: the tower then starts as the mean of its word vectors, and learns only what improves on it.

    :raises ConfigError: if there are no layers and the widths differ, or the residual path could not start alone.
    """
    if config.head_layers == 0:
        if config.residual:
            raise ConfigError("head_layers is 0; it must be at least 1 with residual")
        if width != config.dimension:
            raise ConfigError(f"dimension is {config.dimension}; without head layers it must be the encoder's, {width}")
        return nn.Sequential()
    layers: list[nn.Module] = []
    for _ in range(config.head_layers - 1):
        layers += [nn.Dropout(config.dropout), nn.Linear(width, config.head_hidden)]
        layers += [nn.LayerNorm(config.head_hidden)] if config.layer_norm else []
        layers += [nn.ReLU()]
        width = config.head_hidden
    last = nn.Linear(width, config.dimension)
    if config.residual:
        nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, nn.Dropout(config.dropout), last)


def unit_or_zero(vectors: Tensor) -> Tensor:
    """Scale (n, d) rows to length 1; a zero row stays zero, with a gradient of zero instead of NaN."""
    return vectors * torch.rsqrt((vectors * vectors).sum(dim=1, keepdim=True).clamp_min(1e-12))
