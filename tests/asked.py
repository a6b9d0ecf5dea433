"""Asking an engine without a retriever, checked as a retriever checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybrid_search.filters import Filter
from hybrid_search.protocols import Engine, Vectors
from hybrid_search.search import Search
from hybrid_search.settings.index import Bm25
from hybrid_search.types import Hit, Ranking

__all__ = ["by_both", "by_text", "by_vector"]


def by_text(
    engine: Engine, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
) -> list[Ranking]:
    """Rank by BM25."""
    return engine.rank(Search.of(texts, k, "bm25", filter=filter, bm25=bm25))


def by_vector(
    engine: Engine, vectors: Vectors, k: int, filter: Filter | None = None, *, exact: bool = False
) -> list[Ranking]:
    """Rank by vector similarity."""
    return engine.rank(Search.near(vectors, k, filter=filter, exact=exact))


def by_both(engine: Engine, texts: Sequence[str], vectors: Vectors, k: int, **more: Any) -> list[list[Hit]]:
    """Answer by both legs; ``filter``, ``offset`` and ``fusion`` as :meth:`Search.of` takes them."""
    return engine.search(Search.of(texts, k, vectors=vectors, **more))
