"""A graph is walked far enough to find what an exact search finds, without anybody setting how far."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search import effort, faiss_index
from hybrid_search.engines.embedded.search.effort import EFFORTS, Effort, measured
from hybrid_search.errors import ConfigError
from hybrid_search.filters import Term
from hybrid_search.search import Search
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.types import Document

COUNT, DIMENSION = 6_000, 64
SIMILARITIES: tuple[Similarity, ...] = ("cosine", "dot", "l2")
KIND = "HNSW5"  # so thin a graph that the least effort misses much, as a large one of HNSW32 does


def vectors_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


def nearest(vectors: NDArray[np.float32], query: NDArray[np.float32], similarity: Similarity) -> set[int]:
    """The ten nearest, by brute force."""
    if similarity == "l2":
        return set(np.argsort(((vectors - query) ** 2).sum(1))[:10].tolist())
    products = vectors @ query
    return set(np.argsort(-(products / np.linalg.norm(vectors, axis=1) if similarity == "cosine" else products))[:10])


def recall(index: Any, vectors: NDArray[np.float32], similarity: Similarity, steps: int) -> float:
    queries = vectors_of(100, seed=1)
    _, found = faiss_index.walk(index, faiss_index.prepared(queries, similarity), 10, steps)
    pairs = zip(found.tolist(), queries, strict=True)
    return float(np.mean([len(set(row) & nearest(vectors, query, similarity)) / 10 for row, query in pairs]))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_effort_is_the_least_with_which_ten_neighbours_are_found(similarity: Similarity) -> None:
    vectors = vectors_of(COUNT)
    index = faiss_index.build(KIND, faiss_index.prepared(vectors, similarity), similarity)
    found = measured(index, similarity)
    assert recall(index, vectors, similarity, EFFORTS[0]) < 0.9, "else the test shows nothing"
    assert recall(index, vectors, similarity, found.steps) >= 0.94
    assert found.vectors == COUNT
    less = EFFORTS[EFFORTS.index(found.steps) - 1]
    assert effort.recall_of(index, effort.mixed_queries(index, similarity), less) < 0.96 <= found.recall


def test_equal_vectors_count_as_found_whichever_of_them_is() -> None:
    vectors = np.repeat(vectors_of(100), 30, axis=0)
    index = faiss_index.build("HNSW32", faiss_index.prepared(vectors, "cosine"), "cosine")
    assert measured(index, "cosine").steps == EFFORTS[0]


def test_behind_a_transformation_of_the_vectors_it_stays_the_least() -> None:
    shifted = vectors_of(2_000) + 3  # so that the products of the transformed vectors order them otherwise
    index = faiss_index.build("PCA32,HNSW32", shifted, "dot")
    assert measured(index, "dot") == Effort(EFFORTS[0], 0.0, 2_000)


def test_a_search_of_an_index_finds_them_also_when_it_has_grown_and_was_opened_again(tmp_path: Path) -> None:
    vectors = vectors_of(COUNT)
    settings = IndexSettings(dimension=DIMENSION, fingerprint="drawn", faiss=KIND)
    with EmbeddedEngine.create(tmp_path / "index", settings) as engine:
        for start, end in ((0, 500), (500, COUNT)):
            engine.add([Document(str(n), "text") for n in range(start, end)], vectors[start:end])
            engine.commit()
    queries = vectors_of(50, seed=1)
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        told = engine.stats()["dense"]
        assert told["effort"] > EFFORTS[0]
        assert told["recall@10"] >= 0.96
        search = Search.of(["text"] * 50, 10, mode="knn", vectors=queries)
        hits = [{int(hit.id) for hit in one} for one in engine.search(search)]
    pairs = zip(hits, queries, strict=True)
    assert np.mean([len(one & nearest(vectors, query, "cosine")) / 10 for one, query in pairs]) >= 0.94


def test_an_index_of_before_keeps_the_least_effort_until_it_has_doubled() -> None:
    assert Effort.read(None, 700) == Effort(EFFORTS[0], 0.0, 700)


@pytest.mark.parametrize(
    "values", [{"steps": 1 << 40}, {"steps": 0}, {"recall": 2.0}, {"vectors": -1}, {"steps": "128"}, {"more": 1}, 7]
)
def test_a_manifest_with_another_effort_is_not_believed(values: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Effort.read(values, 700)


def test_an_index_whose_manifest_lies_is_built_again(tmp_path: Path) -> None:
    settings = IndexSettings(dimension=DIMENSION, fingerprint="drawn", faiss="HNSW32")
    with EmbeddedEngine.create(tmp_path / "index", settings) as engine:
        engine.add([Document(str(n), "text") for n in range(50)], vectors_of(50))
        engine.commit()
    manifest = next((tmp_path / "index").rglob("vectors-*.faiss")).parent / "manifest.json"
    outer = json.loads(manifest.read_text())
    body = json.loads(outer["body"])
    assert body["extra"]["effort"]["vectors"] == 50
    body["extra"]["effort"]["steps"] = 1 << 40
    outer["body"] = json.dumps(body)
    manifest.write_text(json.dumps({**outer, "checksum": zlib.crc32(outer["body"].encode())}))
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        assert engine.stats()["dense"]["effort"] == EFFORTS[0]


@pytest.mark.parametrize("factory", ["PCAW16,HNSW32", "ITQ16,HNSW32", "PCAW16,IVF4,Flat", "PCAR16,HNSW32"])
def test_a_graph_of_vectors_that_can_t_be_compared_one_by_one_is_refused_and_others_are_searched(
    tmp_path: Path, factory: str
) -> None:
    settings = IndexSettings(dimension=DIMENSION, faiss=factory)
    if factory.startswith(("PCAW16,HNSW", "ITQ")):
        with pytest.raises(ConfigError, match="a graph whose vectors can't be compared one by one"):
            EmbeddedEngine.create(tmp_path / "index", settings)
        return
    vectors = vectors_of(1_000)
    with EmbeddedEngine.create(tmp_path / "index", settings) as engine:
        engine.add([Document(f"d{number}", "text") for number in range(1_000)], vectors)
        engine.commit()
        assert engine.rank(Search.near(vectors[:1], 1))[0].ids == ("d0",)
        # Of few that pass a filter each is compared.
        engine.add([Document("d7", "text", metadata={"few": True})], vectors[7:8])
        engine.commit()
        assert engine.rank(Search.near(vectors[:1], 5, filter=Term("few", True)))[0].ids == ("d7",)
