from __future__ import annotations

import numpy as np
import pytest
from fakes import PETS, AxisEncoder

from hybrid_search.evaluation import baselines
from hybrid_search.evaluation.baselines import exact_rankings, random_ranking
from hybrid_search.protocols import silent
from hybrid_search.types import Document, Query

IDS = [f"d{i}" for i in range(50)]


def rank(encoder, documents, texts, depth=10):
    with silent("", None) as task:
        return exact_rankings(encoder, documents, [Query(text, text) for text in texts], depth, task)


def test_a_random_ranking_draws_each_document_once_and_repeats_with_its_seed() -> None:
    drawn = random_ranking(IDS, "q1", 50, seed=3)
    assert sorted(drawn.ids) == sorted(IDS)
    assert drawn == random_ranking(IDS, "q1", 50, seed=3)
    assert drawn != random_ranking(IDS, "q1", 50, seed=4)
    assert drawn != random_ranking(IDS, "q2", 50, seed=3)


def test_a_random_ranking_is_no_longer_than_asked_and_best_first() -> None:
    assert random_ranking(IDS, "q", 3, seed=0).scores == (3.0, 2.0, 1.0)
    assert len(random_ranking(IDS[:2], "q", 3, seed=0)) == 2


def test_exact_search_ranks_by_cosine_and_leaves_out_texts_without_a_vector() -> None:
    (ranking,) = rank(AxisEncoder(), PETS, ["cat"])
    # d5 has no vector; d3 and d4 are both orthogonal, so their ids decide.
    assert ranking.ids == ("d2", "d1", "d3", "d4")
    assert ranking.scores == pytest.approx((1.0, 2 / 5**0.5, 0.0, 0.0))


def test_exact_search_for_a_text_without_a_vector_finds_nothing() -> None:
    assert len(rank(AxisEncoder(), PETS, ["sleeps"])[0]) == 0


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
def test_exact_search_in_chunks_equals_sorting_the_whole(similarity, monkeypatch) -> None:
    monkeypatch.setattr(baselines, "_BATCH", 7)
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(40, 4)).astype(np.float32)
    query = generator.normal(size=4).astype(np.float32)

    class Table(AxisEncoder):
        def encode_queries(self, texts):
            return query[None, :]

        def encode_documents(self, texts):
            return vectors[[int(text) for text in texts]]

    expected = {
        "cosine": vectors @ query / np.linalg.norm(vectors, axis=1),
        "dot": vectors @ query,
        "l2": -((vectors - query) ** 2).sum(axis=1),
    }[similarity]
    (ranking,) = rank(Table(similarity=similarity), [Document(str(i), str(i)) for i in range(40)], ["q"], 10)
    assert ranking.ids == tuple(str(i) for i in np.argsort(-expected)[:10])


def test_exact_search_over_no_documents_finds_nothing() -> None:
    assert len(rank(AxisEncoder(), [], ["cat"])[0]) == 0
