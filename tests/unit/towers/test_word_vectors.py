"""Word vectors: reproducible, sensible, and complete for every id."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.settings.training import WordVectorConfig
from hybrid_search.towers.word_vectors import WordVectors, sif_weights, train_word_vectors, whitened

KINGS, FRUIT, UNSEEN = [2, 3, 4, 5], [6, 7, 8, 9], 10


def corpus() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.choice(topic, size=12).astype(np.int32) for _ in range(300) for topic in (KINGS, FRUIT)]


def trained(algorithm: str = "skipgram", seed: int = 0) -> WordVectors:
    config = WordVectorConfig(algorithm=algorithm, epochs=10)
    return train_word_vectors(corpus(), vocabulary_size=11, dimension=16, config=config, seed=seed)


@pytest.mark.parametrize("algorithm", ["skipgram", "cbow"])
def test_words_of_one_topic_are_closer_than_words_of_two(algorithm: str) -> None:
    vectors = trained(algorithm).vectors
    unit = vectors[2:10] / np.linalg.norm(vectors[2:10], axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[:4, :4].mean() > likeness[:4, 4:].mean() + 0.3


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others() -> None:
    first, again, other = trained(seed=1), trained(seed=1), trained(seed=2)
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_every_id_has_a_vector_and_padding_has_zero() -> None:
    vectors = trained().vectors
    assert vectors.shape == (11, 16)
    assert vectors.dtype == np.float32
    assert not vectors[0].any()
    assert vectors[UNSEEN].any()
    assert np.abs(vectors[UNSEEN]).max() <= 0.5 / 16


def test_counts_are_those_of_the_corpus() -> None:
    lists = [[2, 2, 3], [], [3, 5]]
    config = WordVectorConfig(algorithm="random")
    counts = train_word_vectors(iter(lists), vocabulary_size=6, dimension=4, config=config, seed=0).counts
    assert counts.tolist() == [0, 0, 2, 2, 0, 1]


def test_a_corpus_without_tokens_gives_random_vectors() -> None:
    config = WordVectorConfig()
    vectors = train_word_vectors([[], []], vocabulary_size=3, dimension=4, config=config, seed=0).vectors
    assert vectors[1:].any(axis=1).all()


def test_frequent_words_weigh_less() -> None:
    # shares 0, 1/10, 9/10 with a = 1/10: 1, 1/2, 1/10
    assert sif_weights(np.array([0, 1, 9]), 0.1).tolist() == pytest.approx([1, 0.5, 0.1])


def test_whitened_vectors_have_mean_zero_and_the_same_spread_in_every_direction() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((500, 4)) * [10, 3, 1, 0.1] + [5, 0, 0, 0]).astype(np.float32)
    counts = rng.integers(1, 50, 500)
    weights = counts * sif_weights(counts, 1e-4)
    weights /= weights.sum()
    white = whitened(vectors, counts)
    assert weights @ white == pytest.approx(np.zeros(4), abs=1e-5)
    assert (white * weights[:, None]).T @ white == pytest.approx(0.01 * np.eye(4), abs=1e-5)


def test_whitening_leaves_out_directions_without_spread_and_tokens_never_seen() -> None:
    # all seen tokens lie on one line
    vectors = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [7, 8]], dtype=np.float32)
    white = whitened(vectors, np.array([0, 1, 1, 1, 0]))
    assert white[1:4, 0] == pytest.approx([0, 0, 0], abs=1e-6)
    assert np.abs(white[1:4, 1]) == pytest.approx([0.1225, 0, 0.1225], abs=1e-4)
    assert white[4].tolist() == [7, 8]
