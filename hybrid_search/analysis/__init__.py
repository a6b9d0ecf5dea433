"""How texts and queries become BM25's terms, the same on both engines."""

from hybrid_search.analysis.analyzers import ANALYZERS, Analyzer, analyzer
from hybrid_search.analysis.queries import MOST_WORDS, Asked, asked, asked_terms, counted_words

__all__ = ["ANALYZERS", "MOST_WORDS", "Analyzer", "Asked", "analyzer", "asked", "asked_terms", "counted_words"]
