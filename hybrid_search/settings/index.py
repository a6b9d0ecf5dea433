"""Settings of an index and of its searches; stored in the index."""

from __future__ import annotations

from typing import Literal

import msgspec

from hybrid_search.settings.base import Setting, require

__all__ = [
    "Bm25",
    "Combination",
    "FieldType",
    "Fusion",
    "IndexSettings",
    "Normalisation",
    "Similarity",
]

Similarity = Literal["cosine", "dot", "l2"]
Normalisation = Literal["min_max", "min_max_from_zero", "l2", "z_score", "rrf"]
Combination = Literal["arithmetic", "geometric", "harmonic"]
FieldType = Literal["keyword", "long", "double", "boolean"]


class Bm25(Setting, frozen=True):
    """BM25's parameters. The defaults are OpenSearch's."""

    k1: float = 1.2
    b: float = 0.75

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        require(0 <= self.k1 <= 10, "k1", self.k1, "from 0 to 10")
        require(0 <= self.b <= 1, "b", self.b, "from 0 to 1")


class Fusion(Setting, frozen=True):
    """How the BM25 and k-NN legs become one ranking. The arithmetic is OpenSearch's; see ``hybrid_search.fusion``.

    :ivar method: how a leg's scores are normalised; ``min_max_from_zero`` is ``min_max`` with BM25's scale starting
        at 0 instead of the score of its window's last hit; ``rrf`` uses ranks instead of scores.
    :ivar combination: the mean that joins the legs; ignored by ``rrf``; ``z_score`` allows only ``arithmetic``.
    :ivar weights: (bm25, knn), each 0..1; they must sum to 1, as OpenSearch requires.
    :ivar window: number of documents that each leg contributes; paging ends there.
    :ivar rank_constant: of ``rrf``.
    """

    method: Normalisation = "min_max"
    combination: Combination = "arithmetic"
    weights: tuple[float, float] = (0.5, 0.5)
    window: int = 200
    rank_constant: int = 60

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        require(all(0 <= w <= 1 for w in self.weights), "weights", self.weights, "two numbers from 0 to 1")
        require(abs(sum(self.weights) - 1) < 1e-6, "weights", self.weights, "two numbers that sum to 1")
        require(1 <= self.window <= 10_000, "window", self.window, "from 1 to 10000")
        require(self.rank_constant >= 1, "rank_constant", self.rank_constant, "at least 1")
        require(
            self.method != "z_score" or self.combination == "arithmetic",
            "combination",
            self.combination,
            "arithmetic with z_score (OpenSearch takes no other)",
        )


class IndexSettings(Setting, frozen=True):
    """Settings of an index, fixed when it is created and stored in it.

    :ivar fingerprint: of the model whose vectors are stored; empty for an index without vectors.
    :ivar dimension: of the vectors; 0 for an index without vectors.
    :ivar fields: name -> type of the declared metadata fields; other fields are declared by their first value.
    :ivar faiss: a FAISS ``index_factory`` string; ``auto`` is ``Flat`` below 200,000 vectors and ``HNSW32`` above.
    """

    format_version: int = 1
    fingerprint: str = ""
    dimension: int = 0
    similarity: Similarity = "cosine"
    analyzer: str = "english_folded"
    bm25: Bm25 = Bm25()
    fusion: Fusion = Fusion()
    fields: dict[str, FieldType] = msgspec.field(default_factory=dict)
    faiss: str = "auto"

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        require(self.dimension >= 0, "dimension", self.dimension, "0 or more")
