"""Answers searches from the caches, which the engine keeps from changing meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from hybrid_search.engines.embedded.search.bm25 import LexicalLeg
from hybrid_search.engines.embedded.search.dense import DenseLeg
from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.search.ranking import Page, Rows, ScoredRows, fused_page, page_of_leg
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.errors import UnsupportedCapability
from hybrid_search.fusion import bm25_alone
from hybrid_search.passages import grouped
from hybrid_search.protocols import Vectors
from hybrid_search.search import MAX_K, Search
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.tracing import database

__all__ = ["Searcher"]

_WORTH_THREADS = 8


class Searcher:
    """Searches both legs and fuses them. Many queries are searched on all cores.

    :param folder: of the index, for messages.
    """

    def __init__(self, folder: Path, store: Store, lexical: LexicalLeg, dense: DenseLeg) -> None:
        self._folder = folder
        self._store = store
        self._lexical = lexical
        self._dense = dense
        self._threads: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    @property
    def is_exact(self) -> bool:
        """Whether the k-NN leg finds what a comparison with every vector finds."""
        return self._dense.is_exact

    def pages(self, search: Search, settings: IndexSettings, allowed: RowFilter | None) -> list[Page]:
        """Rank; for a search for documents enough of their passages.

        :param allowed: the rows that pass the search's filter; None for all.
        """
        if not search.group:
            return self._pages_of_passages(search, settings, allowed)
        search = search.with_fusion(settings.fusion)
        depth = search.first_depth
        while True:
            pages = self._pages_of_passages(search.of_passages(depth), settings, allowed)
            groups = [len(grouped(self._store.row_ids.ids(page.rows), 1)) for page in pages]
            enough = (
                search.is_deep_enough(depth, len(page.rows), documents)
                for page, documents in zip(pages, groups, strict=True)
            )
            if all(enough):
                return pages
            depth = min(8 * depth, MAX_K)

    def matching(self, search: Search, settings: IndexSettings, allowed: RowFilter | None) -> list[Rows]:
        """Return the rows that match each query, in no particular order; see :meth:`Engine.matches`."""
        search = search.with_fusion(settings.fusion)
        if search.mode == "hybrid" and search.min_score is not None:
            fusion = search.fusion or settings.fusion
            every = replace(search, k=min(2 * fusion.window, MAX_K), offset=0)
            return [page.rows for page in self._pages_of_passages(every, settings, allowed)]
        weights = search.fusion.weights if search.fusion else (search.mode == "bm25", search.mode == "knn")
        near = [np.empty(0, np.int64)] * len(search.texts)
        has_vector = np.zeros(len(search.texts), bool)
        if weights[1]:
            vectors = search.vectors_of(settings.dimension)
            found = self._dense.search(vectors, search.neighbours(settings.fusion), allowed)
            near = [one.at_least(search.least_of("knn")).rows for one in found]
            has_vector = np.any(vectors, axis=1)
        if search.mode == "knn":
            return near
        # A query without a vector is answered by BM25 alone, whatever its weight.
        return [
            np.union1d(self._with_words(text, search, settings, allowed), rows) if weights[0] or not known else rows
            for text, rows, known in zip(search.texts, near, has_vector, strict=True)
        ]

    def _with_words(self, text: str, search: Search, settings: IndexSettings, allowed: RowFilter | None) -> Rows:
        lexical, least = self._lexical, search.least_of("bm25")
        if least is None:
            return lexical.matching(text, allowed)
        bm25 = search.bm25 or settings.bm25
        return lexical.search(text, max(1, lexical.count()), allowed, bm25).at_least(least).rows

    def _pages_of_passages(self, search: Search, settings: IndexSettings, allowed: RowFilter | None) -> list[Page]:
        if search.mode == "bm25":
            found = self._by_words(search.texts, search.end, allowed, search.bm25 or settings.bm25)
            return [page_of_leg(one, search) for one in found]
        vectors = search.vectors_of(settings.dimension)
        if search.exact and not self.is_exact:
            raise UnsupportedCapability(f"{self._folder}: walks a graph, and can't compare with every vector")
        if search.mode == "knn":
            return [page_of_leg(one, search) for one in self._near(vectors, search.end, allowed)]
        fusion = search.fusion or settings.fusion
        return self._fused(search.with_fusion(fusion), vectors, fusion, settings.bm25, allowed)

    def _fused(
        self, search: Search, vectors: Vectors, fusion: Fusion, bm25: Bm25, allowed: RowFilter | None
    ) -> list[Page]:
        fusions = [fusion if known else bm25_alone(fusion) for known in np.any(vectors, axis=1)]
        # A leg with weight 0 contributes nothing, not even documents.
        by_text = [position for position, one in enumerate(fusions) if one.weights[0]]
        texts = [search.texts[position] for position in by_text]
        found = self._by_words(texts, fusion.window, allowed, bm25)
        lexical = [ScoredRows()] * len(fusions)
        for position, of_text in zip(by_text, found, strict=True):
            lexical[position] = of_text.at_least(search.min_bm25)
        dense = [ScoredRows()] * len(fusions)
        if fusion.weights[1]:
            near = self._near(vectors, fusion.window, allowed)
            dense = [of_vector.at_least(search.min_knn) for of_vector in near]
        ids = self._store.row_ids
        with database("fuse", self._folder.name, len(fusions)):
            return [fused_page(*legs, search, ids) for legs in zip(lexical, dense, fusions, strict=True)]

    def _by_words(self, texts: Sequence[str], k: int, allowed: RowFilter | None, bm25: Bm25) -> list[ScoredRows]:
        def search(text: str) -> ScoredRows:
            return self._lexical.search(text, k, allowed, bm25)

        with database("bm25", self._folder.name, len(texts)):
            if len(texts) < _WORTH_THREADS:
                return [search(text) for text in texts]
            return list(self._pool().map(search, texts))

    def _near(self, vectors: Vectors, k: int, allowed: RowFilter | None) -> list[ScoredRows]:
        with database("knn", self._folder.name, len(vectors)):
            return self._dense.search(vectors, k, allowed)

    def _pool(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="bm25")
            return self._threads

    def close(self) -> None:
        """End the threads."""
        if self._threads:
            self._threads.shutdown()
