"""The words of a long query: each counted once, and so many at most, on every engine alike. Layer 1.

A server counts the words of a query, repeats too, and refuses one of more than 1,024. Here a word that is repeated is
one word that weighs more, which scores the same; and of different words the first :data:`MOST_WORDS` count, which is
said. So a query has the same answer in a folder and on a server, and none of them ends a batch of others.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice

from hybrid_search.analysis import Analyzer

__all__ = ["MOST_WORDS", "asked_terms", "counted_words"]

MOST_WORDS = 800
"""Different words of a query that count; with a filter's conditions this is less than a server takes."""

_SHOWN = 40

_log = logging.getLogger(__name__)


def counted_words(text: str, analyzer: Analyzer, most: int = MOST_WORDS) -> Mapping[str, int] | None:
    """Return the first different words of a long query and how often each stands in all of it.

    :param most: how many different words.
    :return: None for a query of so few words that it can be taken as it is.
    """
    # A word and what separates it from the next; but one character may stand for four Arabic words.
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
    """Return the function that turns a query into its terms, repeats kept, without the words that do not count."""
    terms_of = analyzer.terms_of()

    def of_query(text: str) -> list[str]:
        counts = counted_words(text, analyzer)
        if counts is None:
            return terms_of(text)
        return [term for word, times in counts.items() for term in terms_of(word) * times]

    return of_query
