"""A filtered ranking is the unfiltered one without what does not pass, however few or many documents pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from asked import by_both, by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search.filter_rows import FilterCache, RowFilter
from hybrid_search.errors import StorageError
from hybrid_search.filters import Filter, Term
from hybrid_search.filters.parser import parse_filter
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Document

COUNT, DIMENSION = 4_000, 16
WORDS = [f"word{number}" for number in range(60)]
QUERIES = ("word0", "word0 word1 word7", "word3 word3 word59", "word2 word58 unknown")
FILTERS: dict[str, Callable[[Any], bool]] = {
    "n < 12": lambda of: of["n"] < 12,
    "n < 300": lambda of: of["n"] < 300,
    "n >= 200": lambda of: of["n"] >= 200,
    "n >= 3990": lambda of: of["n"] >= 3990,
    "shop = c": lambda of: of["shop"] == "c",
    "not shop = c": lambda of: of["shop"] != "c",
    "n < 0": lambda of: False,
    "not n < 0": lambda of: True,
}


def documents() -> list[Document]:
    draw = np.random.default_rng(0)
    likely = 1 / np.arange(1, len(WORDS) + 1)
    lengths = draw.integers(1, 12, COUNT)
    texts = [" ".join(draw.choice(WORDS, length, p=likely / likely.sum())) for length in lengths.tolist()]
    shops = draw.choice(list("abcdefghij"), COUNT).tolist()
    return [Document(f"{n * 7919 % 9973:04}", texts[n], metadata={"n": n, "shop": shops[n]}) for n in range(COUNT)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    """With documents that are gone, and with some that are in memory only."""
    every = documents()
    vectors = np.random.default_rng(1).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    settings = IndexSettings(dimension=DIMENSION, faiss="HNSW8")
    with EmbeddedEngine.create(tmp_path_factory.mktemp("filtered") / "index", settings) as engine:
        for part in (slice(0, 3_900), slice(3_900, COUNT)):
            engine.add(every[part], vectors[part])
            engine.commit()
        engine.delete([document.id for document in every[::17]])
        engine.commit()
        yield engine


@pytest.mark.parametrize("bm25", [None, Bm25(k1=0.9, b=0.4)], ids=["as indexed", "others"])
@pytest.mark.parametrize("expression", FILTERS)
def test_by_words(engine: EmbeddedEngine, expression: str, bm25: Bm25 | None) -> None:
    filter = parse_filter(expression)
    passing = {document.id for document in documents() if FILTERS[expression](document.metadata)}
    for text in QUERIES:
        (whole,) = by_text(engine, [text], COUNT, bm25=bm25)
        expected = [(id, score) for id, score in zip(whole.ids, whole.scores, strict=True) if id in passing]
        for k in (1, 10, 300):
            (found,) = by_text(engine, [text], k, filter, bm25=bm25)
            assert found.ids == tuple(id for id, _ in expected[:k])
            assert found.scores == pytest.approx([score for _, score in expected[:k]], rel=1e-5)


@pytest.mark.parametrize("expression", FILTERS)
def test_by_vectors_and_by_both(engine: EmbeddedEngine, expression: str) -> None:
    filter = parse_filter(expression)
    passing = {document.id for document in documents() if FILTERS[expression](document.metadata)}
    query = np.random.default_rng(2).normal(size=(1, DIMENSION)).astype(np.float32)
    (whole,) = by_vector(engine, query, COUNT)
    expected = [id for id in whole.ids if id in passing]
    if len(passing) < COUNT // 2:  # else the graph is walked, which may miss some
        assert by_vector(engine, query, 20, filter)[0].ids == tuple(expected[:20])
    (hits,) = by_both(engine, [QUERIES[1]], query, 20, filter=filter)
    assert {hit.id for hit in hits} <= passing
    assert len(hits) == min(20, len(expected))


class _Slow(FilterCache):
    """Waits before it resolves one filter; another fails at first."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        super().__init__(engine._store)
        self.go, self.fails, self.resolved = threading.Event(), True, 0

    def _resolved(self, filter: Filter) -> RowFilter:
        if filter == Term("shop", "a"):
            assert self.go.wait(20)
        elif filter == Term("shop", "b") and self.fails:
            self.fails = False
            raise StorageError("the disk")
        self.resolved += 1
        return super()._resolved(filter)


def test_a_filter_that_takes_long_keeps_no_other_waiting_and_is_resolved_once(engine: EmbeddedEngine) -> None:
    filters, fields = _Slow(engine), {"shop": "keyword"}
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(filters.resolve, Term("shop", "a"), 1, fields) for _ in range(2)]
        other = threads.submit(filters.resolve, Term("shop", "c"), 1, fields)
        assert other.result(20).count
        assert not any(one.done() for one in slow)
        filters.go.set()
        assert slow[0].result(20) is slow[1].result(20)
    assert filters.resolved == 2
    with pytest.raises(StorageError):
        filters.resolve(Term("shop", "b"), 1, fields)
    assert filters.resolve(Term("shop", "b"), 1, fields).count, "what failed once is tried again"
