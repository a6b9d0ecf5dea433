"""What BM25 counts of a query: not the words around its subject, and of a very long one not all.

Of an English query, words that say nothing of its subject are left out ("how do I", "what should I know about"; the
list is ``mappings/analysis/function_words.json``), unless it has no others. BM25's idf does not do that by itself: a
corpus that asks no questions has few of these words, so it would weigh them like names. That is a matter of queries
alone, so it holds for indexes of any age. On a server the field's search analyzer, named ``…_asked``, does the same
for the requests of others; an index that was made before has none, and there only this package's own queries are so.

A server counts all words of a query, and refuses one of more than 1,024. Here a repeated word becomes one word with a
higher weight, which gives the same score, and of the distinct words the first :data:`MOST_WORDS` count, which is
logged. So a query has the same answer in a folder and on a server, and a long one does not make a batch fail.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from hybrid_search.analysis.analyzers import Analyzer, function_words

__all__ = ["MOST_WORDS", "Asked", "asked", "asked_terms", "counted_words"]

MOST_WORDS = 800
"""Limit of distinct words of a query; leaves room for a filter's conditions within a server's limit."""

_SHOWN = 40

_log = logging.getLogger(__name__)


def counted_words(
    text: str, analyzer: Analyzer, most: int = MOST_WORDS, *, log: bool = True
) -> Mapping[str, int] | None:
    """Return the first distinct words of a long query and the number of occurrences of each in the whole query.

    :param most: maximum number of distinct words.
    :param log: say so where there are more.
    :return: None for a query with few words, which can be used unchanged.
    """
    # A word takes at least a character, with its parts too; but one character may stand for four Arabic words.
    if len(text) < (most if text.isascii() else most // 4) or len(words := analyzer.words(text)) <= most:
        return None
    counts = Counter(words)
    if log and len(counts) > most:
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


def asked(text: str, analyzer: Analyzer, most: int = MOST_WORDS, *, log: bool = True) -> Asked:
    """Return the part of a query that counts: without function words, and of a long one :func:`counted_words`."""
    has_subject = True
    if left_out := function_words(analyzer.asked_in):
        words = analyzer.words(text)
        kept = [word for word in words if word not in left_out]
        has_subject = bool(kept or not words)
        if has_subject and len(kept) < len(words):
            text = " ".join(kept)
    return Asked(counted_words(text, analyzer, most, log=log) or text, has_subject)


def asked_terms(analyzer: Analyzer, *, log: bool = True) -> Callable[[str], list[str]]:
    """Return the function that splits a query into the terms that count, including repetitions; see :func:`asked`.

    :param log: False where the same query is searched for too, which says what does not count.
    """
    terms_of = analyzer.terms_of()
    function_words(analyzer.asked_in)  # read now: who opens an index may not be allowed to read files later

    def of_query(text: str) -> list[str]:
        words = asked(text, analyzer, log=log).words
        if isinstance(words, str):
            return terms_of(words)
        return [term for word, times in words.items() for term in terms_of(word) * times]

    return of_query
