"""Settings of an index and of its searches; stored in the index."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

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
FieldType = Literal["keyword", "long", "double", "boolean", "date"]


class Bm25(Setting, frozen=True):
    """BM25's parameters. The defaults are OpenSearch's."""

    k1: Annotated[float, Meta(ge=0, le=10, description="How much a word's repetition in a text counts.")] = 1.2
    b: Annotated[float, Meta(ge=0, le=1, description="How much a text's length counts against it.")] = 0.75


class Fusion(Setting, frozen=True):
    """How the BM25 and k-NN legs become one ranking. The arithmetic is OpenSearch's; see ``hybrid_search.fusion``."""

    method: Annotated[
        Normalisation,
        Meta(
            description="How a leg's scores are made comparable; min_max_from_zero is min_max with BM25's scale from 0 "
            "and not from its window's last hit (OpenSearch 3.0); rrf uses ranks instead."
        ),
    ] = "min_max"
    combination: Annotated[
        Combination, Meta(description="The mean that joins the legs; rrf has none, z_score takes only arithmetic.")
    ] = "arithmetic"
    weights: Annotated[
        tuple[float, float],
        Meta(title="two numbers from 0 to 1 that sum to 1", description="Of BM25 and k-NN, as OpenSearch requires."),
    ] = (0.5, 0.5)
    window: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Number of documents that each leg contributes; paging ends there."),
    ] = 200
    rank_constant: Annotated[int, Meta(ge=1, description="RRF's constant.")] = 60

    def check(self) -> None:
        """Check what contradicts what."""
        require(all(0 <= w <= 1 for w in self.weights), "weights", self.weights, "two numbers from 0 to 1")
        require(abs(sum(self.weights) - 1) < 1e-6, "weights", self.weights, "two numbers that sum to 1")
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
    :ivar faiss: a FAISS ``index_factory`` string; ``auto`` is exact below 200,000 vectors (``Flat``, from
        10,000 on ``SQ8,RFlat``) and ``HNSW32`` above.
    :ivar weighed: whether somebody has chosen the fusion's weights: a user, a training, or a load by queries made of
        its documents. If not, the next load does.
    :ivar declared: which of these settings somebody asked for, so that an index which replaces this one has them, too:
        ``language``, ``bm25``, ``fusion``, ``faiss``, and metadata fields as ``fields.NAME``.
    """

    format_version: int = 1
    fingerprint: str = ""
    dimension: Annotated[int, Meta(ge=0)] = 0
    similarity: Similarity = "cosine"
    analyzer: str = "english_parts"
    bm25: Bm25 = Bm25()
    fusion: Fusion = Fusion()
    fields: Annotated[
        dict[str, FieldType],
        Meta(
            title="name -> keyword, long, double, boolean or date",
            description="Declared metadata fields; others are declared by their first value, which makes none a date.",
        ),
    ] = msgspec.field(default_factory=dict)
    faiss: Annotated[
        str,
        Meta(
            title="a FAISS index_factory string such as Flat, HNSW32, SQ8 or IVF1024,PQ32",
            description="The k-NN index in a folder; auto is exact below 200,000 vectors, HNSW32 above.",
        ),
    ] = "auto"
    weighed: bool = True
    declared: tuple[str, ...] = ()

    def declaring(self, *names: str, **changes: Any) -> Self:
        """Return a copy with changes, and these names added to what was asked for."""
        return self.replace(declared=tuple(sorted({*self.declared, *names})), **changes)

    @property
    def declared_fields(self) -> dict[str, FieldType]:
        """Name -> type of the metadata fields that were asked for; dates are, in indexes without that record, too."""
        return {name: kind for name, kind in self.fields.items() if kind == "date" or f"fields.{name}" in self.declared}
