"""The embedded engine: SQLite is the truth, tantivy and FAISS are caches."""

from hybrid_search.engines.embedded.engine import EmbeddedEngine
from hybrid_search.engines.embedded.lifecycle import replacement
from hybrid_search.engines.embedded.repair import damage, repair

__all__ = ["EmbeddedEngine", "damage", "repair", "replacement"]
