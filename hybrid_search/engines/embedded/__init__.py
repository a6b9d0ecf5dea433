"""The embedded engine: SQLite is the truth, tantivy and FAISS are caches."""

from hybrid_search.engines.embedded.damage import damage
from hybrid_search.engines.embedded.engine import EmbeddedEngine
from hybrid_search.engines.embedded.lifecycle import repair, replacement

__all__ = ["EmbeddedEngine", "damage", "repair", "replacement"]
