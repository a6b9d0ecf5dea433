"""A tokenizer, word vectors, and one small checkpoint for the tests that only read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_towers import TEXTS, small_config, small_towers

from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.tokenizer import TextTokenizer, train_tokenizer
from hybrid_search.towers.word_vectors import WordVectors


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny arithmetic loses more than it gains on a second thread, most of all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(TEXTS * 3, vocabulary=200, min_frequency=1)


@pytest.fixture(scope="session")
def word_vectors(tokenizer: TextTokenizer) -> WordVectors:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((tokenizer.vocabulary_size, 8)).astype(np.float32)
    vectors[0] = 0
    return WordVectors(vectors, rng.integers(0, 40, tokenizer.vocabulary_size))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer, word_vectors: WordVectors) -> Path:
    """A BiGRU checkpoint with separate towers. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("models") / "small"
    towers = small_towers(small_config(towers="separate"), tokenizer.vocabulary_size)
    save_checkpoint(folder, towers, tokenizer, untrained=word_vectors, training={"seed": 0}, defaults=ServingDefaults())
    return folder
