"""What both engines fuse alike: legs without a weight, and documents that are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from asked import by_both, by_vector

from hybrid_search.protocols import Engine
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings, Normalisation
from hybrid_search.types import Document


@pytest.mark.parametrize("method", ["min_max", "rrf", "z_score"])
def test_a_leg_of_weight_zero_contributes_no_documents(filled: Engine, method: Normalisation) -> None:
    vector = np.array([[1, 0]], np.float32)
    for text, expected in (("zzzz qqqq", []), ("sea", ["sea"])):
        fusion = Fusion(method=method, weights=(1.0, 0.0))
        hits = by_both(filled, [text], vector, 5, fusion=fusion)[0]
        assert [hit.id for hit in hits] == expected
        assert [set(hit.legs) for hit in hits] == [{"bm25"}] * len(expected)
        [ranking] = filled.rank(Search.of([text], 5, vectors=vector, fusion=fusion))
        assert list(ranking.ids) == expected
    hits = by_both(filled, ["sea"], vector, 5, fusion=Fusion(method=method, weights=(0.0, 1.0)))[0]
    assert [hit.id for hit in hits] == ["flea", "dog", "sea"]
    assert [set(hit.legs) for hit in hits] == [{"knn"}] * 3


def test_documents_that_are_alike_tie_by_id_in_every_mode(make_engine: Callable[[IndexSettings], Engine]) -> None:
    """Their vectors are alike to the last bit, and stand at the ends of the batch; 30 queries are asked at once."""
    engine = make_engine(IndexSettings(dimension=64, fingerprint="towers"))
    chance = np.random.default_rng(5)
    vectors = chance.standard_normal((40, 64)).astype(np.float32)
    vectors[0] = vectors[20] = vectors[39]
    texts = ["one text" if number in (0, 20, 39) else f"one other{number}" for number in range(40)]
    engine.add([Document(f"{number:02}", text) for number, text in enumerate(texts)], vectors)
    engine.commit()
    queries = np.repeat(vectors[:1], 30, axis=0) + chance.standard_normal((30, 64)).astype(np.float32) / 50
    for ranking in by_vector(engine, queries, 3):
        assert ranking.ids == ("00", "20", "39")
        assert len(set(ranking.scores)) == 1
    for hits in by_both(engine, ["one text"] * 30, queries, 3, fusion=Fusion(window=3)):
        assert [hit.id for hit in hits] == ["00", "20", "39"]
        assert [hit.score for hit in hits] == [1.0] * 3
