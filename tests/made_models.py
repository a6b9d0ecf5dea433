"""Models without training: random towers, saved as a training run saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.towers.word_vectors import WordVectors

__all__ = ["make_model"]

_CONFIG = TowerConfig(hidden=8, dimension=16, embedding_dimension=16, head_hidden=8, dropout=0.0)


def make_model(folder: Path, texts: Sequence[str], *, seed: int) -> Path:
    """Write a checkpoint that knows the words of the texts; other seeds give other vectors."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts, vocabulary=2_000, min_frequency=1)
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((tokenizer.vocabulary_size, 16)).astype(np.float32)
    vectors[0] = 0
    counts = random.integers(1, 50, tokenizer.vocabulary_size)
    towers = TwoTower(_CONFIG, tokenizer.vocabulary_size, counts=counts).eval()
    untrained = WordVectors(vectors, counts)
    save_checkpoint(folder, towers, tokenizer, untrained=untrained, training={}, defaults=ServingDefaults())
    return folder
