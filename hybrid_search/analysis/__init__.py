"""How texts and queries become BM25's terms, the same on both engines."""

from hybrid_search.analysis.analyzers import ANALYZERS, Analyzer, analyzer
from hybrid_search.analysis.languages import analyzer_of, language_of, languages, seen_in
from hybrid_search.analysis.queries import MOST_WORDS, Asked, asked, asked_terms, counted_words

__all__ = [
    "ANALYZERS",
    "MOST_WORDS",
    "Analyzer",
    "Asked",
    "analyzer",
    "analyzer_of",
    "asked",
    "asked_terms",
    "counted_words",
    "language_of",
    "languages",
    "seen_in",
]
