"""The definition of how a text is split into BM25 terms, for tantivy and for OpenSearch.

Both split a text into runs of letters and digits (all other characters, including emoji, are separators), convert them
to lower case and, for English, reduce them to their Snowball stem. Accents are kept; a run of Chinese or Japanese
characters is one term. All words of a document are indexed. Some languages have Snowball stems as well, others *light*
ones (:mod:`hybrid_search.analysis.suffixes`).

Analyzers that *fold* first unify different spellings of a word: composed or not, full width, ligatures, any case, a
final sigma, invisible characters (:mod:`hybrid_search.analysis.spelling`). The others are those of older indexes, and
stay unchanged.

Those with *bigrams* cut Chinese, Japanese and Korean (:mod:`hybrid_search.analysis.cjk`); *unaccented* ones find a word
with its accents or without; those of *parts* find a word with inner capitals by its parts as well
(:mod:`hybrid_search.analysis.identifiers`). The analyzers are ``mappings/analysis/analyzers.json``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hybrid_search import mappings
from hybrid_search.analysis import cjk, identifiers, spelling, suffixes
from hybrid_search.errors import ConfigError

if TYPE_CHECKING:
    import tantivy

__all__ = ["ANALYZERS", "Analyzer", "analyzer", "function_words"]

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A way to split texts into terms.

    :ivar name: as stored in an index.
    :ivar stemmer: the Snowball language for tantivy, empty for none.
    :ivar opensearch_stemmer: the same stemmer's name in OpenSearch (its ``english`` is an older algorithm).
    :ivar snowball: or its name as a Snowball algorithm there, which is the same as tantivy's.
    :ivar suffixes: the language whose endings are taken off, in place of a stemmer; empty for none.
    :ivar folds: unify different spellings of a word.
    :ivar unaccented: take accents and vowel signs off (``mappings/analysis/accents.json``).
    :ivar bigrams: cut Chinese, Japanese and Korean into pairs of characters.
    :ivar parts: add the parts of a word with inner capitals.
    :ivar asked_in: the language whose function words are left out of queries, empty for none.
    """

    name: str
    stemmer: str = ""
    opensearch_stemmer: str = ""
    snowball: str = ""
    suffixes: str = ""
    folds: bool = False
    unaccented: bool = False
    bigrams: bool = False
    parts: bool = False
    asked_in: str = ""

    @property
    def for_queries(self) -> str:
        """The name of the analyzer that a new index on a server applies to queries."""
        return f"{self.name}_asked" if self.asked_in else self.name

    def prepared(self, text: str) -> str:
        """Return a text in the form that :meth:`for_tantivy` expects; OpenSearch's analyzer does this itself."""
        if not self.suffixes:
            return self.unstemmed(text)
        return " ".join(map(suffixes.stem_of(self.suffixes), self.words(text)))

    def unstemmed(self, text: str) -> str:
        """Return a text whose words are those of its terms, before case and endings are taken off."""
        # Most texts only need lower case, which the analyzer does itself.
        if self.folds and not text.isascii():
            text = spelling.folding(keeps_capitals=self.parts)(text)
        if self.unaccented and not text.isascii():
            text = spelling.unaccented(text)
        if self.bigrams and not text.isascii():
            text = cjk.with_bigrams(text)
        # A text without capitals has no words with inner ones.
        return identifiers.with_parts(text, _split()) if self.parts and not text.islower() else text

    def words(self, text: str) -> list[str]:
        """Split a text into words, in order, as for its terms but without stemming."""
        return [_small(word) for word in self.split(self.unstemmed(text))]

    def split(self, unstemmed: str) -> list[str]:
        """Split such a text into words, in order."""
        return _split()(unstemmed)

    def term_of(self) -> Callable[[str], str]:
        """Return the function that makes a term of one of these words."""
        analyze = self.for_tantivy().analyze
        stem = suffixes.stem_of(self.suffixes) if self.suffixes else None
        return lambda word: analyze(stem(_small(word)) if stem else word)[0]

    def runs_of(self, word: str) -> list[tuple[int, int]]:
        """Return the places in a run of letters and digits that are words; of most, the whole."""
        return list(cjk.runs_of(word)) if self.bigrams and not word.isascii() else [(0, len(word))]

    def parts_of(self, word: str) -> list[str]:
        """Cut a word where its inner parts begin; most words have one part."""
        return identifiers.parts_of(word) if self.parts else [word]

    def for_tantivy(self) -> tantivy.TextAnalyzer:
        """Build the analyzer for tantivy."""
        import tantivy

        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        if self.stemmer:
            builder = builder.filter(tantivy.Filter.stemmer(self.stemmer))
        return builder.build()

    def for_opensearch(self) -> dict[str, Any]:
        """Return the ``analysis`` object of an OpenSearch index's settings.

        Its analyzers are this one, and the one :attr:`for_queries`.
        """
        filters: dict[str, Any] = {}
        before = spelling.char_filters(keeps_capitals=self.parts) if self.folds else {}
        before |= spelling.accent_filter() if self.unaccented else {}
        before |= cjk.char_filters() if self.bigrams else {}
        before |= identifiers.char_filters() if self.parts else {}
        folds = {"char_filter": list(before)} if before else {}
        stems, drops = [], []
        if self.stemmer:
            stems = [f"{self.name}_stemmer"]
            filters[stems[0]] = {"type": "snowball", "language": self.snowball}
        if self.opensearch_stemmer:
            filters[stems[0]] = {"type": "stemmer", "language": self.opensearch_stemmer}
        if self.suffixes:
            endings = suffixes.token_filters(self.suffixes)
            filters |= endings
            stems = list(endings)
        if self.asked_in:
            drops = [f"{self.asked_in}_function_words"]
            filters[drops[0]] = {"type": "stop", "stopwords": sorted(function_words(self.asked_in))}
        chains = {self.name: ["lowercase", *stems], self.for_queries: ["lowercase", *drops, *stems]}
        return {
            "tokenizer": {"letters_and_digits": {"type": "pattern", "pattern": r"[^\p{IsAlphabetic}\p{N}]+"}},
            "filter": filters,
            **({"char_filter": before} if before else {}),
            "analyzer": {
                name: {"type": "custom", **folds, "tokenizer": "letters_and_digits", "filter": chain}
                for name, chain in chains.items()
            },
        }

    def terms_of(self) -> Callable[[str], list[str]]:
        """Return the function that splits a text into terms, in order, including repetitions."""
        return _terms_of(self)


@cache
def _terms_of(analyzer: Analyzer) -> Callable[[str], list[str]]:
    analyze = analyzer.for_tantivy().analyze
    if analyzer.suffixes:
        suffixes.stem_of(analyzer.suffixes)  # read now: who opens an index may not be allowed to read files later
    return (
        (lambda text: analyze(analyzer.prepared(text)))
        if analyzer.folds or analyzer.parts or analyzer.bigrams or analyzer.suffixes
        else analyze
    )


@cache
def function_words(language: str) -> frozenset[str]:
    """Return the words of a language that say nothing of a query's subject, none of an empty name."""
    return frozenset(mappings.render("analysis/function_words")[language]) if language else frozenset()


def _small(word: str) -> str:
    return word.lower() if word.isascii() else word.translate(_SMALL)


@cache
def _split() -> Callable[[str], list[str]]:
    import tantivy

    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build().analyze


ANALYZERS: Mapping[str, Analyzer] = {
    name: Analyzer(name, **known) for name, known in mappings.render("analysis/analyzers").items()
}
"""The analyzers that an index can have, by name; a changed analyzer gets a new name."""


def analyzer(name: str) -> Analyzer:
    """Return an analyzer by name.

    :raises ConfigError: if there is none of this name.
    """
    try:
        return ANALYZERS[name]
    except KeyError:
        raise ConfigError(f"analyzer is {name!r}; it must be one of {', '.join(sorted(ANALYZERS))}") from None
