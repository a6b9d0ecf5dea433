"""An encoder and an engine small enough to compute their answers by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_search.config import Bm25, Fusion, IndexSettings, Similarity
from hybrid_search.filters import Filter, Term
from hybrid_search.fusion import Fused, fuse
from hybrid_search.protocols import Capabilities, Vectors
from hybrid_search.types import Document, Hit, Leg, Ranking, Rejection, by_score_then_id

AXES = {"cat": 0, "kitten": 0, "dog": 1, "puppy": 1, "car": 2, "automobile": 2, "tree": 3, "oak": 3}


class AxisEncoder:
    """Each known word is one of four axes, synonyms share one; a text is the sum of its words, of unit length.

    A text without a word of :data:`AXES` is a zero row. Both towers are alike.
    """

    dimension = 4

    def __init__(self, fingerprint: str = "axes", similarity: Similarity = "cosine") -> None:
        self.fingerprint = fingerprint
        self.similarity = similarity

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                if word in AXES:
                    vectors[row, AXES[word]] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self.encode_queries(texts)


class MemoryEngine:
    """The engine protocol over dictionaries, exact and slow.

    The lexical score of a document is how often the query's words occur in it, times ``k1`` / 1.2 (so that an
    override can be seen); the dense score is (1 + cosine) / 2. Both legs return only documents they match at all:
    a lexical score above 0, a vector that is not zero. A document with an empty text is rejected. Filters: ``Term``.
    What is added or deleted is seen after ``commit``.
    """

    capabilities = Capabilities("memory", "1", exact_knn=True, bm25_at_query_time=True, stored_models=False)

    def __init__(self, settings: IndexSettings | None = None) -> None:
        self.settings = settings or IndexSettings(fingerprint="axes", dimension=4)
        self.committed: dict[str, tuple[Document, Vectors | None]] = {}
        self.pending: dict[str, tuple[Document, Vectors | None]] = {}
        self.commits = 0
        self.closed = False
        self.batches: list[int] = []

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        self.batches.append(len(documents))
        rejected = []
        for row, document in enumerate(documents):
            if document.text:
                self.pending[document.id] = (document, None if vectors is None else vectors[row])
            else:
                rejected.append(Rejection("index", 0, "text", "empty", document.id))
        return rejected

    def delete(self, ids: Sequence[str]) -> int:
        return sum(self.pending.pop(id, None) is not None for id in ids)

    def commit(self) -> None:
        self.committed = dict(self.pending)
        self.commits += 1

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        return [self.committed[id][0] if id in self.committed else None for id in ids]

    def documents(self) -> Iterator[Document]:
        return (document for document, _ in self.committed.values())

    def search_lexical(
        self, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
    ) -> list[Ranking]:
        factor = (bm25 or self.settings.bm25).k1 / 1.2
        return [self._rank(self._lexical_scores(text, factor, filter), k) for text in texts]

    def search_dense(self, vectors: Vectors, k: int, filter: Filter | None = None) -> list[Ranking]:
        return [self._rank(self._dense_scores(vector, filter), k) for vector in vectors]

    def search_hybrid(
        self,
        texts: Sequence[str],
        vectors: Vectors,
        k: int,
        *,
        fusion: Fusion | None = None,
        filter: Filter | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        fusion = fusion or self.settings.fusion
        legs = zip(
            self.search_lexical(texts, fusion.window, filter),
            self.search_dense(vectors, fusion.window, filter),
            strict=True,
        )
        fused = [fuse(bm25, knn, fusion)[offset : offset + k] for bm25, knn in legs]
        return [[self._hit(f, offset + i) for i, f in enumerate(page, start=1)] for page in fused]

    def hits(self, ranking: Ranking, *, first_rank: int = 1, leg: str | None = None) -> list[Hit]:
        hits = []
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=first_rank):
            legs = {leg: Leg(score, rank, score, 1.0, 1.0)} if leg else {}
            hits.append(self._hit(Fused(id, score, legs), rank))
        return hits

    def store_model(self, files: Sequence[Path]) -> None:
        raise NotImplementedError

    def model_folder(self) -> Path | None:
        return None

    def count(self) -> int:
        return len(self.committed)

    def stats(self) -> Mapping[str, Any]:
        return {"documents": self.count()}

    def close(self) -> None:
        self.closed = True

    def _lexical_scores(self, text: str, factor: float, filter: Filter | None) -> dict[str, float]:
        scores = {}
        for id, (document, _) in self.committed.items():
            counts = Counter(document.searchable_text.lower().split())
            matches = sum(counts[word] for word in set(text.lower().split()))
            if matches and _passes(document, filter):
                scores[id] = matches * factor
        return scores

    def _dense_scores(self, vector: Vectors, filter: Filter | None) -> dict[str, float]:
        return {
            id: (1 + float(vector @ stored)) / 2
            for id, (document, stored) in self.committed.items()
            if stored is not None and stored.any() and vector.any() and _passes(document, filter)
        }

    def _rank(self, scores: dict[str, float], k: int) -> Ranking:
        ordered = by_score_then_id(scores)[:k]
        return Ranking(tuple(id for id, _ in ordered), tuple(score for _, score in ordered))

    def _hit(self, fused: Fused, rank: int) -> Hit:
        document = self.committed[fused.id][0]
        return Hit(fused.id, rank, fused.score, document.text, document.title, document.metadata, fused.legs)


def _passes(document: Document, filter: Filter | None) -> bool:
    if filter is None:
        return True
    assert isinstance(filter, Term)
    return document.metadata.get(filter.field) == filter.value


PETS = (
    Document("d1", "cat cat dog", metadata={"lang": "en"}),
    Document("d2", "the kitten sleeps", metadata={"lang": "en"}),
    Document("d3", "dog", title="puppy", metadata={"lang": "de"}),
    Document("d4", "car", metadata={"lang": "de"}),
    Document("d5", "sleeps sleeps", metadata={"lang": "en"}),
)
"""d1 mixes two axes, d2 and d3 are pure, d4 is far from all, d5 has no vector."""
