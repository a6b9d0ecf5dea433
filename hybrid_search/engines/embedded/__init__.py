"""The embedded engine: SQLite is the truth, tantivy and FAISS are caches."""

from hybrid_search.engines.embedded.engine import EmbeddedEngine

__all__ = ["EmbeddedEngine"]
