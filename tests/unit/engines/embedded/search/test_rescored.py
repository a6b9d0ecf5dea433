"""8-bit numbers whose candidates are compared again: what is found, and how it scores, is what ``Flat`` finds."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from asked import by_vector
from numpy.typing import NDArray

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search.faiss_index import Allowed, threads_for
from hybrid_search.engines.embedded.search.rescored import Rescored
from hybrid_search.filters.parser import parse_filter
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.types import Document, Ranking

COUNT, DIMENSION = 3_000, 32
KINDS = ("Flat", "SQ8,RFlat")
FILTERS = ("", "number < 40", "number >= 40", "number >= 2900", "number < 1500")


def vectors_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of very different lengths, a tenth of which repeat another."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(count, DIMENSION)) * draw.gamma(2, size=(count, 1))
    vectors[:: max(2, count // (count // 10 + 1))] = vectors[count // 2]
    return vectors.astype(np.float32)


def documents(start: int, stop: int) -> list[Document]:
    return [Document(f"{n * 7919 % 9973:04}", "text", metadata={"number": n}) for n in range(start, stop)]


def built(folder: Path, kind: str, similarity: Similarity = "cosine") -> Path:
    """An index that grew in unequal parts, beyond the range of the first, and lost some."""
    vectors = vectors_of(COUNT)
    vectors[2_000:2_010] *= 50
    settings = IndexSettings(dimension=DIMENSION, similarity=similarity, faiss=kind)
    with EmbeddedEngine.create(folder, settings) as engine:
        for start, stop in ((0, 1_000), (1_000, 1_001), (1_001, COUNT)):
            engine.add(documents(start, stop), vectors[start:stop])
            engine.commit()
        engine.delete([document.id for document in documents(0, COUNT)[::10]])
        engine.commit()
        assert engine.stats()["dense"] == {"kind": kind, "vectors": COUNT * 9 // 10, "dead": COUNT // 10}
    return folder


def told(rankings: list[Ranking]) -> list[tuple[Any, Any]]:
    return [(ranking.ids, ranking.scores) for ranking in rankings]


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    opened = [EmbeddedEngine.open(built(folder / kind.replace(",", "-"), kind, request.param)) for kind in KINDS]
    yield opened
    for engine in opened:
        engine.close()


@pytest.mark.parametrize("expression", FILTERS)
def test_hits_scores_and_ties_are_those_of_a_comparison_with_every_vector(both: Any, expression: str) -> None:
    filter = parse_filter(expression) if expression else None
    queries = np.concatenate([vectors_of(3, seed=1), vectors_of(COUNT)[[1, COUNT // 2]]])
    for k in (1, 10, 250):
        for at in range(len(queries)):
            flat, rescored = (told(by_vector(engine, queries[at : at + 1], k, filter, exact=True)) for engine in both)
            assert rescored == flat
        few, many = queries, np.concatenate([vectors_of(24, seed=2), queries])
        for batch in (few, many):
            flat, rescored = (by_vector(engine, batch, k, filter) for engine in both)
            assert [ranking.ids for ranking in rescored] == [ranking.ids for ranking in flat]


def test_the_hits_are_those_of_a_brute_force_in_double_precision(tmp_path: Path) -> None:
    vectors, queries = vectors_of(COUNT, seed=3), vectors_of(20, seed=4)
    vectors = vectors[np.unique(vectors, axis=0, return_index=True)[1]]
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=DIMENSION, faiss="SQ8,RFlat")) as engine:
        engine.add([Document(str(n), "text") for n in range(len(vectors))], vectors)
        engine.commit()
        found = [by_vector(engine, query[None], 50)[0] for query in queries]
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    for query, ranking in zip(queries.astype(np.float64), found, strict=True):
        scores = (1 + wide @ query / np.linalg.norm(query)) / 2
        assert {int(id) for id in ranking.ids} == set(np.argsort(-scores)[:50].tolist())
        assert ranking.scores == pytest.approx(np.sort(scores)[::-1][:50].tolist(), abs=1e-6)


def test_what_left_the_range_is_found_all_the_same_and_when_it_is_much_the_range_is_chosen_anew() -> None:
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(20_000, DIMENSION)).astype(np.float32)
    index = Rescored.build(vectors[:10_000], "dot")
    fresh = index.error.largest
    vectors[10_000:11_000] *= 3
    index.add(vectors[10_000:11_000])  # clipped to the range of the first
    assert index.error.largest > 2 * fresh
    every = Allowed(np.ones(11_000, bool), None, 11_000)
    for query in vectors_of(20, seed=9):
        _, found = index.search(query[None], 10, every)
        assert found[0].tolist() == np.argsort(-(vectors[:11_000].astype(np.float64) @ query))[:10].tolist()
    assert not index.is_worn, "a tenth more is no reason to build anew"
    index.add(vectors[11_000:])
    assert index.is_worn
    assert Rescored.build(vectors, "dot").error.largest < index.error.largest / 2, "its range has them all"


def test_the_originals_are_mapped_from_a_file_and_not_held_twice(tmp_path: Path) -> None:
    folder = built(tmp_path / "index", "SQ8,RFlat")
    (file,) = folder.glob("dense/*.f32")
    assert file.stat().st_size == COUNT * DIMENSION * 4
    with EmbeddedEngine.open(folder, writable=True) as engine:
        index = engine._caches.dense._vectors.index
        assert isinstance(index._first.base, np.memmap)
        assert not len(index._late)
        more = np.random.default_rng(6).normal(size=(30, DIMENSION)).astype(np.float32)
        engine.add(documents(COUNT, COUNT + 30), more)
        engine.commit()
        assert len(index._late) == 30
        near = [by_vector(engine, vector[None], 1)[0].ids[0] for vector in more]
    assert near == [document.id for document in documents(COUNT, COUNT + 30)]
    with EmbeddedEngine.open(folder) as engine:
        assert engine.verify() == []
        assert by_vector(engine, more[4:5], 1)[0].ids == (documents(COUNT + 4, COUNT + 5)[0].id,)


@pytest.mark.parametrize("damage", ["short", "missing", "changed", "error"])
def test_damaged_originals_are_written_again_from_the_documents(tmp_path: Path, damage: str) -> None:
    folder = built(tmp_path / "index", "SQ8,RFlat")
    with EmbeddedEngine.open(folder) as engine:
        before = told(by_vector(engine, vectors_of(3, seed=7), 20))
    (file,), manifest = folder.glob("dense/*.f32"), folder / "dense" / "manifest.json"
    if damage == "missing":
        file.unlink()
    elif damage == "error":
        outer = json.loads(manifest.read_text())
        body = json.loads(outer["body"])
        body["extra"]["error"]["fresh"] = -1.0
        text = json.dumps(body)
        manifest.write_text(json.dumps({"body": text, "checksum": zlib.crc32(text.encode())}))
    else:
        data = file.read_bytes()
        file.write_bytes(data[:-4] if damage == "short" else data[:-4] + b"\0\0\0\0")
    with EmbeddedEngine.open(folder) as engine:
        assert told(by_vector(engine, vectors_of(3, seed=7), 20)) == before


def test_auto_takes_it_from_ten_thousand_vectors_on_and_an_index_of_before_stays_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(8).normal(size=(10_001, 4)).astype(np.float32)
    folder = tmp_path / "index"
    with monkeypatch.context() as before:
        before.setattr("hybrid_search.engines.embedded.search.faiss_index._RESCORED_FROM", 200_000)
        with EmbeddedEngine.create(folder, IndexSettings(dimension=4)) as engine:
            engine.add([Document(str(n), "text") for n in range(10_000)], vectors[:10_000])
            engine.commit()
    with EmbeddedEngine.open(folder) as engine:
        assert engine.stats()["dense"]["kind"] == "Flat"
        (flat,) = by_vector(engine, vectors[-1:], 30)
    with EmbeddedEngine.open(folder, writable=True) as engine:
        assert engine.delete(["none"]) == 0
        engine.add([Document("new", "text")], -vectors[-1:])
        engine.commit()
        assert engine.stats()["dense"]["kind"] == "SQ8,RFlat"
        (rescored,) = by_vector(engine, vectors[-1:], 30)
        assert rescored.ids == flat.ids
        assert rescored.scores == pytest.approx(flat.scores, abs=1e-6)


def test_one_query_is_searched_in_its_own_thread_and_many_on_all_cores() -> None:
    def elsewhere() -> int:
        with ThreadPoolExecutor(1) as other:
            return other.submit(faiss.omp_get_max_threads).result()

    before, others = faiss.omp_get_max_threads(), elsewhere()
    faiss.omp_set_num_threads(3)
    try:
        for queries, threads in ((1, 1), (2, 3)):
            with threads_for(queries):
                assert faiss.omp_get_max_threads() == threads
                assert elsewhere() == others
            assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
