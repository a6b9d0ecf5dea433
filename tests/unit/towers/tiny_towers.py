"""Towers small enough to check by hand, and a few texts for them."""

from __future__ import annotations

import numpy as np
import torch

from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.two_tower import TwoTower

ANIMALS = ["the cat chases a mouse", "a dog chases the cat", "the mouse eats cheese", "the dog eats a bone"]
MACHINES = ["the engine burns fuel", "a motor turns the wheel", "fuel heats the engine", "the wheel turns a belt"]
TEXTS = ANIMALS + MACHINES


def small_config(**changes: object) -> TowerConfig:
    return TowerConfig(
        **{"hidden": 6, "dimension": 8, "embedding_dimension": 8, "head_hidden": 5, "dropout": 0.0, **changes}
    )


def small_towers(config: TowerConfig, vocabulary_size: int = 30, seed: int = 0) -> TwoTower:
    """Towers of which every part takes part: nothing left at the zero it starts from."""
    torch.manual_seed(seed)
    counts = np.random.default_rng(seed).integers(1, 50, vocabulary_size)
    towers = TwoTower(config, vocabulary_size, counts=counts)
    with torch.no_grad():
        for name, parameter in sorted(towers.named_parameters()):
            if not name.endswith(("embedding.weight", "log_weights")):
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    towers.round_word_vectors()
    return towers.eval()


def assert_near(found: torch.Tensor, wanted: torch.Tensor, atol: float = 1e-6) -> None:
    """Compare numbers; ``torch.testing`` would spend five seconds on importing a compiler."""
    np.testing.assert_allclose(found.numpy(force=True), wanted.numpy(force=True), atol=atol, rtol=0)
