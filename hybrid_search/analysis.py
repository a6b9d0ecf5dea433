"""The definition of how a text is split into BM25 terms, for tantivy and for OpenSearch.

Both split a text into runs of letters and digits (all other characters, including emoji, are separators), convert them
to lower case and, for English, reduce them to their Snowball stem. Accents are kept; a run of Chinese or Japanese
characters is one term. There are no stop words: BM25's idf has the same effect.

Analyzers that *fold* first unify different spellings of a word: composed or not, full width, ligatures, any case, a
final sigma, invisible characters (``mappings/analysis/folding.json``, made by ``mappings/folding.py``). The others are
those of older indexes, and stay unchanged.

A server counts all words of a query, and refuses one of more than 1,024. Here a repeated word becomes one word with a
higher weight, which gives the same score, and of the distinct words the first :data:`MOST_WORDS` count, which is
logged. So a query has the same answer in a folder and on a server, and a long one does not make a batch fail.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import mappings
from hybrid_search.errors import ConfigError

if TYPE_CHECKING:
    import tantivy

__all__ = ["ANALYZERS", "MOST_WORDS", "Analyzer", "analyzer", "asked_terms", "counted_words"]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A way to split texts into terms.

    :ivar name: as stored in an index.
    :ivar stemmer: the Snowball language for tantivy, empty for none.
    :ivar opensearch_stemmer: the same stemmer's name in OpenSearch (its ``english`` is an older algorithm).
    :ivar folds: unify different spellings of a word.
    """

    name: str
    stemmer: str = ""
    opensearch_stemmer: str = ""
    folds: bool = False

    def prepared(self, text: str) -> str:
        """Return a text in the form that :meth:`for_tantivy` expects; OpenSearch's analyzer does this itself."""
        # Most texts only need lower case, which the analyzer does itself.
        return _folding()(text) if self.folds and not text.isascii() else text

    def words(self, text: str) -> list[str]:
        """Split a text into words, in order, as for its terms but without stemming."""
        return [word.lower() if word.isascii() else word for word in _split()(self.prepared(text))]

    def for_tantivy(self) -> tantivy.TextAnalyzer:
        """Build the analyzer for tantivy."""
        import tantivy

        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        if self.stemmer:
            builder = builder.filter(tantivy.Filter.stemmer(self.stemmer))
        return builder.build()

    def for_opensearch(self) -> dict[str, Any]:
        """Return the ``analysis`` object of an OpenSearch index's settings; its analyzer has this name."""
        filters: dict[str, Any] = {}
        before = _char_filters() if self.folds else {}
        folds = {"char_filter": list(before)} if before else {}
        chain = ["lowercase"]
        if self.opensearch_stemmer:
            stemmer = f"{self.name}_stemmer"
            filters[stemmer] = {"type": "stemmer", "language": self.opensearch_stemmer}
            chain.append(stemmer)
        return {
            "tokenizer": {"letters_and_digits": {"type": "pattern", "pattern": r"[^\p{IsAlphabetic}\p{N}]+"}},
            "filter": filters,
            **({"char_filter": before} if before else {}),
            "analyzer": {self.name: {"type": "custom", **folds, "tokenizer": "letters_and_digits", "filter": chain}},
        }

    def terms_of(self) -> Callable[[str], list[str]]:
        """Return the function that splits a text into terms, in order, including repetitions."""
        return _terms_of(self)


@cache
def _terms_of(analyzer: Analyzer) -> Callable[[str], list[str]]:
    analyze = analyzer.for_tantivy().analyze
    return (lambda text: analyze(analyzer.prepared(text))) if analyzer.folds else analyze


@cache
def _split() -> Callable[[str], list[str]]:
    import tantivy

    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build().analyze


@cache
def _folding() -> Callable[[str], str]:
    """Return the function that applies the table to a text, as a server's two character filters do."""
    table = mappings.render("analysis/folding")
    characters, sequences = str.maketrans(table["characters"]), table["sequences"]
    letters, marks = ({one[0] for one in sequences}, {mark for one in sequences for mark in one[1:]})
    # A run of these never combines with the characters before and after it.
    runs = re.compile(f"[{''.join(letters)}][{''.join(marks)}]+")
    longest = max(map(len, sequences))

    def joined(run: re.Match[str]) -> str:
        rest, found = run[0], ""
        while rest:
            taken = next((n for n in range(longest, 1, -1) if rest[:n] in sequences), 1)
            found, rest = found + sequences.get(rest[:taken], rest[:taken]), rest[taken:]
        return found

    return lambda text: runs.sub(joined, text.translate(characters))


def _char_filters() -> dict[str, Any]:
    table = mappings.render("analysis/folding")
    rules = {name: [f"{_rule(one)}=>{_rule(other)}" for one, other in part.items()] for name, part in table.items()}
    return {f"fold_{name}": {"type": "mapping", "mappings": of_part} for name, of_part in rules.items()}


def _rule(part: str) -> str:
    return part.replace(" ", "\\u0020")  # blanks at the ends of a rule's halves would be stripped


ANALYZERS: Mapping[str, Analyzer] = {
    known.name: known
    for known in (
        Analyzer("english_folded", stemmer="english", opensearch_stemmer="porter2", folds=True),
        Analyzer("plain_folded", folds=True),
        Analyzer("english", stemmer="english", opensearch_stemmer="porter2"),
        Analyzer("plain"),
    )
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


MOST_WORDS = 800
"""Limit of distinct words of a query; leaves room for a filter's conditions within a server's limit."""

_SHOWN = 40

_log = logging.getLogger(__name__)


def counted_words(text: str, analyzer: Analyzer, most: int = MOST_WORDS) -> Mapping[str, int] | None:
    """Return the first distinct words of a long query and the number of occurrences of each in the whole query.

    :param most: maximum number of distinct words.
    :return: None for a query with few words, which can be used unchanged.
    """
    # A word takes at least two characters with its separator; but one character may stand for four Arabic words.
    if len(text) < (2 * most if text.isascii() else most // 4) or len(words := analyzer.words(text)) <= most:
        return None
    counts = Counter(words)
    if len(counts) > most:
        _log.warning(
            "a query has %d different words, of which the first %d count; it begins %r",
            len(counts),
            most,
            text[:_SHOWN],
        )
    return dict(islice(counts.items(), most))


def asked_terms(analyzer: Analyzer) -> Callable[[str], list[str]]:
    """Return the function that splits a query into terms, including repetitions, without words beyond the limit."""
    terms_of = analyzer.terms_of()

    def of_query(text: str) -> list[str]:
        counts = counted_words(text, analyzer)
        if counts is None:
            return terms_of(text)
        return [term for word, times in counts.items() for term in terms_of(word) * times]

    return of_query
