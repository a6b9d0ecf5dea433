"""The definition of how a text is split into BM25 terms, for tantivy and for OpenSearch.

Both split a text into runs of letters and digits (all other characters, including emoji, are separators), convert them
to lower case and, for English, reduce them to their Snowball stem. Accents are kept; a run of Chinese or Japanese
characters is one term. All words of a document are indexed.

Of an English query, words that say nothing of its subject are left out ("how do I", "what should I know about"; the
list is ``mappings/analysis/function_words.json``), unless it has no others. BM25's idf does not do that by itself: a
corpus that asks no questions has few of these words, so it would weigh them like names. That is a matter of queries
alone, so it holds for indexes of any age. On a server the field's search analyzer, named ``…_asked``, does the same
for the requests of others; an index that was made before has none, and there only this package's own queries are so.

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

__all__ = ["ANALYZERS", "MOST_WORDS", "Analyzer", "Asked", "analyzer", "asked", "asked_terms", "counted_words"]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A way to split texts into terms.

    :ivar name: as stored in an index.
    :ivar stemmer: the Snowball language for tantivy, empty for none.
    :ivar opensearch_stemmer: the same stemmer's name in OpenSearch (its ``english`` is an older algorithm).
    :ivar folds: unify different spellings of a word.
    :ivar asked_in: the language whose function words are left out of queries, empty for none.
    """

    name: str
    stemmer: str = ""
    opensearch_stemmer: str = ""
    folds: bool = False
    asked_in: str = ""

    @property
    def for_queries(self) -> str:
        """The name of the analyzer that a new index on a server applies to queries."""
        return f"{self.name}_asked" if self.asked_in else self.name

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
        """Return the ``analysis`` object of an OpenSearch index's settings.

        Its analyzers are this one, and the one :attr:`for_queries`.
        """
        filters: dict[str, Any] = {}
        before = _char_filters() if self.folds else {}
        folds = {"char_filter": list(before)} if before else {}
        stems, drops = [], []
        if self.opensearch_stemmer:
            stems = [f"{self.name}_stemmer"]
            filters[stems[0]] = {"type": "stemmer", "language": self.opensearch_stemmer}
        if self.asked_in:
            drops = [f"{self.asked_in}_function_words"]
            filters[drops[0]] = {"type": "stop", "stopwords": sorted(_function_words(self.asked_in))}
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
    return (lambda text: analyze(analyzer.prepared(text))) if analyzer.folds else analyze


@cache
def _function_words(language: str) -> frozenset[str]:
    return frozenset(mappings.render("analysis/function_words")[language]) if language else frozenset()


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
        Analyzer("english_folded", stemmer="english", opensearch_stemmer="porter2", folds=True, asked_in="english"),
        Analyzer("plain_folded", folds=True),
        Analyzer("english", stemmer="english", opensearch_stemmer="porter2", asked_in="english"),
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What BM25 is to rank by.

    :ivar words: a text, or the distinct words of a long one with their numbers of occurrences.
    :ivar has_subject: whether function words are left out; False if the query has no others, which then all count.
    """

    words: str | Mapping[str, int]
    has_subject: bool = True


def asked(text: str, analyzer: Analyzer, most: int = MOST_WORDS) -> Asked:
    """Return the part of a query that counts: without function words, and of a long one :func:`counted_words`."""
    has_subject = True
    if function_words := _function_words(analyzer.asked_in):
        words = analyzer.words(text)
        kept = [word for word in words if word not in function_words]
        has_subject = bool(kept or not words)
        if has_subject and len(kept) < len(words):
            text = " ".join(kept)
    return Asked(counted_words(text, analyzer, most) or text, has_subject)


def asked_terms(analyzer: Analyzer) -> Callable[[str], list[str]]:
    """Return the function that splits a query into the terms that count, including repetitions; see :func:`asked`."""
    terms_of = analyzer.terms_of()
    _function_words(analyzer.asked_in)  # read now: who opens an index may not be allowed to read files later

    def of_query(text: str) -> list[str]:
        words = asked(text, analyzer).words
        if isinstance(words, str):
            return terms_of(words)
        return [term for word, times in words.items() for term in terms_of(word) * times]

    return of_query
