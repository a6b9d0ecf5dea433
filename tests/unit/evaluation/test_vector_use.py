"""Figures of sets of vectors whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.evaluation.vector_use import dead_dimensions, effective_rank, hubness, mean_cosine, separation

GENERATOR = np.random.default_rng(0)
AXES = np.concatenate([np.eye(8), -np.eye(8)]).astype(np.float32)
ZERO = np.zeros((1, 8), np.float32)


def test_vectors_along_all_axes_use_all_dimensions_and_those_on_a_line_one() -> None:
    line = np.outer([1, 2, -1, -3], [1, 0, 0, 0, 0, 0, 0, 0]).astype(np.float32)
    assert effective_rank(AXES) == pytest.approx(8)
    assert effective_rank(np.concatenate([AXES, ZERO])) == pytest.approx(8)
    assert effective_rank(line) == pytest.approx(1)
    assert effective_rank(AXES[[0, 8, 1, 9]]) == pytest.approx(2)
    assert (effective_rank(ZERO), effective_rank(np.repeat(AXES[:1], 5, axis=0))) == (0.0, 0.0)


def test_dimensions_that_never_change_are_dead() -> None:
    vectors = GENERATOR.normal(size=(200, 8)).astype(np.float32)
    assert dead_dimensions(vectors) == 0
    vectors[:, 2:4] = 0
    assert dead_dimensions(vectors) == 2
    assert dead_dimensions(ZERO) == 0


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = GENERATOR.normal(size=(30, 8)).astype(np.float32) + 1
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = [float(units[i] @ units[j]) for i in range(30) for j in range(i)]
    assert mean_cosine(np.concatenate([vectors, ZERO])) == pytest.approx(np.mean(cosines), abs=1e-6)
    assert mean_cosine(np.repeat(AXES[:1], 5, axis=0)) == pytest.approx(1.0)
    assert mean_cosine(ZERO) == 0.0


def test_a_vector_that_is_near_to_all_is_a_hub() -> None:
    # Each of 100 vectors has an axis of its own and a little of the first: the first one is nearest to each of them.
    vectors = np.eye(101, dtype=np.float32)
    vectors[1:, 0] = 0.2
    found = hubness(np.concatenate([np.zeros((1, 101), np.float32), vectors]), k=1)
    assert found.hubs[0] == (1, 100)
    assert found.share == pytest.approx(100 / 101)
    assert found.never == pytest.approx(99 / 101)
    assert found.skewness > 5


def test_neighbours_on_a_ring_have_no_hub() -> None:
    angles = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    found = hubness(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), k=2)
    assert (found.share, found.never, abs(found.skewness)) == pytest.approx((0.01, 0.0, 0.0), abs=0.02)
    assert hubness(ZERO).k == 0


def test_answers_are_told_from_random_documents_by_the_share_of_pairs_that_are_in_order() -> None:
    found = separation(np.array([0.9, 0.5], np.float32), np.array([0.1, 0.7, 0.5, 0.2], np.float32))
    assert found is not None
    assert (found.positives, found.randoms) == pytest.approx((0.7, 0.375))
    assert found.auc == pytest.approx((4 + 2 + 0.5) / 8)
    assert separation(np.zeros(0, np.float32), np.ones(3, np.float32)) is None
