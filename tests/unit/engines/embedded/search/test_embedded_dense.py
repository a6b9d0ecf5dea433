"""The dense leg against a brute force in numpy, for every kind of FAISS index and of filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from asked import by_both, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ConfigError
from hybrid_search.filters.parser import parse_filter
from hybrid_search.settings.index import Fusion, IndexSettings, Similarity
from hybrid_search.types import Document

DIMENSION = 16
COUNT = 2000


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((COUNT, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(4).standard_normal((30, DIMENSION)).astype(np.float32)


def documents(count: int = COUNT) -> list[Document]:
    return [Document(f"{number:05}", "text", metadata={"number": number}) for number in range(count)]


def brute_force(vectors: np.ndarray, query: np.ndarray, similarity: Similarity) -> np.ndarray:
    if similarity == "l2":
        return 1 / (1 + ((vectors - query) ** 2).sum(axis=1))
    products = vectors @ query
    if similarity == "cosine":
        return (1 + products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)) / 2
    return np.where(products >= 0, 1 + products, 1 / (1 - np.minimum(products, 0)))


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("expression", ["", "number < 40", "number >= 40"])
def test_flat_finds_what_a_brute_force_finds(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, similarity: Similarity, expression: str
) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION, similarity=similarity)) as engine:
        engine.add(documents(), vectors)
        engine.commit()
        engine.delete([f"{number:05}" for number in range(0, COUNT, 10)])
        engine.commit()
        kept = np.arange(COUNT) % 10 != 0
        if expression:
            kept &= (np.arange(COUNT) < 40) == ("<" in expression)
        rankings = by_vector(engine, queries, 12, parse_filter(expression) if expression else None)
    for query, ranking in zip(queries, rankings, strict=True):
        scores = np.where(kept, brute_force(vectors, query, similarity), -1)
        best = np.argsort(-scores)[:12]
        assert ranking.ids == tuple(f"{number:05}" for number in best)
        assert ranking.scores == pytest.approx(scores[best].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("factory", "recall"),
    [
        ("HNSW32", 0.95),
        ("IVF16,Flat", 0.95),
        ("SQ8", 0.9),
        ("IVF16,PQ8x4np", 0.3),
        ("PCA15,Flat", 0.5),
        ("PQ8x4np", 0.3),
    ],
)
@pytest.mark.parametrize("expression", ["", "number < 30", "number >= 1000"])
def test_any_factory_finds_most_of_it_and_returns_k(
    tmp_path: Path, vectors: np.ndarray, queries: np.ndarray, factory: str, recall: float, expression: str
) -> None:
    settings = IndexSettings(dimension=DIMENSION, faiss=factory)
    filter = parse_filter(expression) if expression else None
    with EmbeddedEngine.create(tmp_path / "index", settings) as engine:
        engine.add(documents(), vectors)
        engine.commit()
        assert engine.stats()["dense"]["kind"] == factory
        rankings = by_vector(engine, queries, 10, filter)
    kept = np.ones(COUNT, bool)
    if expression:
        kept = np.arange(COUNT) < 30 if "<" in expression else np.arange(COUNT) >= 1000
    shared = []
    for query, ranking in zip(queries, rankings, strict=True):
        assert len(ranking) == 10
        scores = np.where(kept, brute_force(vectors, query, "cosine"), -1)
        assert all(kept[int(id)] for id in ranking.ids)
        shared.append(len({f"{n:05}" for n in np.argsort(-scores)[:10]} & set(ranking.ids)) / 10)
    assert np.mean(shared) >= recall


def test_an_index_that_needs_training_is_flat_until_it_can_be_trained(tmp_path: Path, vectors: np.ndarray) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION, faiss="IVF16,Flat")) as engine:
        engine.add(documents()[:100], vectors[:100])
        engine.commit()
        assert engine.stats()["dense"]["kind"] == "Flat"
        engine.add(documents()[100:], vectors[100:])
        engine.commit()
        assert engine.stats()["dense"]["kind"] == "IVF16,Flat"


@pytest.mark.parametrize("factory", ["Falt", "IVF16", "PQ7", "IDMap,Flat", ""])
def test_a_factory_string_that_faiss_refuses_is_named(tmp_path: Path, factory: str) -> None:
    with pytest.raises(ConfigError, match="faiss is "):
        EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION, faiss=factory))
    assert not EmbeddedEngine.exists(tmp_path / "index")


def test_many_deletions_make_the_index_anew(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION)) as engine:
        engine.add(documents(), vectors)
        engine.commit()
        engine.delete([f"{number:05}" for number in range(600)])
        engine.commit()
        assert engine.stats()["dense"] == {"kind": "Flat", "vectors": 1400, "dead": 0}
        assert all(int(id) >= 600 for ranking in by_vector(engine, queries, 50) for id in ranking.ids)


def test_k_beyond_the_graphs_effort_still_returns_k(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION, faiss="HNSW32")) as engine:
        engine.add(documents(), vectors)
        engine.commit()
        assert [len(ranking) for ranking in by_vector(engine, queries, COUNT + 5)] == [COUNT] * 30


def test_vectors_that_differ_by_rounding_alone_tie_by_id(tmp_path: Path) -> None:
    """As of one text that was encoded on two machines; the fusion would stretch the difference to its whole scale."""
    chance = np.random.default_rng(1)
    vector = chance.standard_normal(64).astype(np.float32)
    vector /= np.linalg.norm(vector)
    near = (vector + chance.uniform(-3e-8, 3e-8, (60, 64))).astype(np.float32)
    far = np.tile(-vector, (3, 1))
    ids = [f"{number:02}" for number in chance.permutation(60)]
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=64)) as engine:
        documents = [Document(id, "text") for id in [*ids, "far-1", "far-2", "far-3"]]
        engine.add(documents, np.concatenate([near, far]))
        engine.commit()
        for k in (1, 7, 60):
            (found,) = by_vector(engine, vector[None, :], k)
            assert list(found.ids) == sorted(ids)[:k]
            assert len(set(found.scores)) == 1
        assert len(by_vector(engine, vector[None, :], 63)[0]) == 63
        hits = by_both(engine, ["nothing"], vector[None, :], 2, fusion=Fusion(window=2))[0]
        assert [(hit.id, hit.score) for hit in hits] == [("00", 0.5), ("01", 0.5)]
