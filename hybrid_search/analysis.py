"""The one definition of how text becomes BM25 terms, rendered for tantivy and for OpenSearch. Layer 1.

Both renderings split a text into runs of letters and digits (every other character, emoji included, separates), put
them in lower case and, for ``english``, cut them to their Snowball English stem. Accents are kept; a run of Chinese or
Japanese characters stays one term. There are no stop words: BM25's idf does their work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hybrid_search.errors import ConfigError

if TYPE_CHECKING:
    import tantivy

__all__ = ["ANALYZERS", "Analyzer", "analyzer"]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """One way to turn text into terms.

    :ivar name: what an index stores.
    :ivar stemmer: the Snowball language for tantivy, empty for none.
    :ivar opensearch_stemmer: the same stemmer's name in OpenSearch (``english`` there is an older algorithm).
    """

    name: str
    stemmer: str = ""
    opensearch_stemmer: str = ""

    def for_tantivy(self) -> tantivy.TextAnalyzer:
        """Build the analyzer for tantivy."""
        import tantivy

        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        if self.stemmer:
            builder = builder.filter(tantivy.Filter.stemmer(self.stemmer))
        return builder.build()

    def for_opensearch(self) -> dict[str, Any]:
        """Return the ``analysis`` object of an OpenSearch index's settings; the analyzer in it has this name."""
        filters: dict[str, Any] = {}
        chain = ["lowercase"]
        if self.opensearch_stemmer:
            stemmer = f"{self.name}_stemmer"
            filters[stemmer] = {"type": "stemmer", "language": self.opensearch_stemmer}
            chain.append(stemmer)
        return {
            "tokenizer": {"letters_and_digits": {"type": "pattern", "pattern": r"[^\p{IsAlphabetic}\p{N}]+"}},
            "filter": filters,
            "analyzer": {self.name: {"type": "custom", "tokenizer": "letters_and_digits", "filter": chain}},
        }

    def terms_of(self) -> Callable[[str], list[str]]:
        """Return the function that turns a text into its terms, in order, repeats kept."""
        return _terms_of(self)


@cache
def _terms_of(analyzer: Analyzer) -> Callable[[str], list[str]]:
    return analyzer.for_tantivy().analyze


ANALYZERS: Mapping[str, Analyzer] = {
    known.name: known
    for known in (Analyzer("english", stemmer="english", opensearch_stemmer="porter2"), Analyzer("plain"))
}
"""The analyzers an index can have, by name."""


def analyzer(name: str) -> Analyzer:
    """Look an analyzer up.

    :raises ConfigError: if there is none of this name.
    """
    try:
        return ANALYZERS[name]
    except KeyError:
        raise ConfigError(f"analyzer is {name!r}; it must be one of {', '.join(sorted(ANALYZERS))}") from None
