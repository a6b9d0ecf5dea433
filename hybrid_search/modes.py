"""How an index can be searched where nobody says how: never by less than what it was made for."""

from __future__ import annotations

from hybrid_search.errors import ModelNotFound
from hybrid_search.retriever import Retriever
from hybrid_search.search import MODES, Mode

__all__ = ["modes_of"]


def modes_of(retriever: Retriever) -> tuple[Mode, ...]:
    """Return the modes that an index is made for: all of them, or ``bm25`` for one without vectors.

    :raises ModelNotFound: if it holds vectors and the towers that made them are gone: BM25 alone, which is what would
        be left, is another search than the index's own.
    """
    if retriever.searches_vectors:
        return MODES
    settings = retriever.engine.settings
    if settings.dimension:
        raise ModelNotFound(
            f"the index holds vectors of model {settings.fingerprint[:12]}, and not the towers that made them, so only "
            f"BM25 could answer; give the towers with --model, put them back by loading with --model, or ask for BM25 "
            f"by name (--mode bm25, --systems bm25)"
        )
    return ("bm25",)
