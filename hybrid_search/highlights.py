"""Where hits matched.

The words of a hit whose terms the query has (of ``parseData`` a part of it), and the part of its text that shows them
best.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import accumulate, pairwise

from hybrid_search.analysis import Analyzer, asked_terms
from hybrid_search.types import Highlights, Hit, Span

__all__ = ["marked"]

SNIPPET = 200
"""Characters of a snippet, about; it begins and ends between words."""

_LONGEST = 100_000
"""Most characters of a text that are looked at."""

_BEFORE = 40
_BLANKS = str.maketrans("\n\t\r\v\f\u2028\u2029\x85", " " * 8)
_MARKS = "".join(chr(code) for code in range(0x300, 0x1000) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}\u3099\u309a\u00ad\u200c\u200d])*")
_INNER = re.compile("[0-9a-z][A-Z]|[A-Z]{2}[a-z]")
_IN_PARTS = f"[0-9A-Za-z]*(?:{_INNER.pattern})[0-9A-Za-z]*"
_KNOWN_WORDS = 1 << 16


def marked(queries: Sequence[str], hits: Sequence[Sequence[Hit]], analyzer: Analyzer) -> list[list[Hit]]:
    """Return each query's hits with highlights, their passages too.

    :param queries: n texts, and the hits of each.
    """
    terms_of = asked_terms(analyzer, log=False)
    found = []
    for query, of_query in zip(queries, hits, strict=True):
        terms = _Terms(frozenset(terms_of(query)), analyzer)
        found.append([_marked(hit, terms) for hit in of_query])
    return found


class _Terms(dict[str, tuple[Span, ...]]):
    """The terms of a query; remembers of each word which parts of it are to be marked."""

    def __init__(self, terms: frozenset[str], analyzer: Analyzer) -> None:
        self._terms = terms
        self._terms_of = _terms_of_word(analyzer)
        self._analyzer = analyzer
        self._first_letters = frozenset(letter for term in terms for letter in (term[0], term[0].upper()))
        letters = "".join(sorted(letter for letter in self._first_letters if letter.isascii() and letter.isalnum()))
        # What may have a term in a text of ASCII: words with the first letter of one, and words that may have parts.
        with_first = rf"[{letters}][0-9A-Za-z]*|" if letters else ""
        self._likely = re.compile(rf"(?<![0-9A-Za-z])(?:{with_first}{_IN_PARTS})")

    def __missing__(self, word: str) -> tuple[Span, ...]:
        if word.isascii() and not _INNER.search(word):  # most words: of one part
            asked = word[0] in self._first_letters and not self._terms.isdisjoint(self._terms_of(word))
            whole: tuple[Span, ...] = ((0, len(word)),) if asked else ()
            self[word] = whole
            return whole
        runs = self._analyzer.runs_of(word)
        found = [span for start, end in runs for span in self._of_run(word[start:end], start)]
        if len(runs) > 1:
            found = list(_joined(found))
        self[word] = marks = tuple(found)
        return marks

    def _of_run(self, run: str, start: int) -> list[Span]:
        parts = self._analyzer.parts_of(run)
        whole = [(start, start + len(run))]
        if len(parts) == 1:
            return whole if self._is_asked(run) else []
        terms = self._terms_of(run)
        if self._terms.isdisjoint(terms):
            return []
        if terms[0] in self._terms:
            return whole
        ends = accumulate(map(len, parts), initial=start)
        return [place for part, place in zip(parts, pairwise(ends), strict=True) if self._is_asked(part)] or whole

    def _is_asked(self, word: str) -> bool:
        # A stem begins with its word's first letter, so that few words of ASCII have to be stemmed.
        is_candidate = word[0] in self._first_letters or not word.isascii()
        return is_candidate and not self._terms.isdisjoint(self._terms_of(word))

    def spans(self, text: str) -> list[Span]:
        """Return the places of the words with a term of the query, in order."""
        if not self._terms:
            return []
        words = self._likely if text.isascii() else _WORD
        found = ((match.start(), match[0]) for match in words.finditer(text, 0, _LONGEST))
        return [(at + start, at + end) for at, word in found for start, end in self[word]]


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Join spans that overlap, as those of pairs of characters do."""
    joined: Span | None = None
    for start, end in spans:
        if joined and start < joined[1]:
            joined = joined[0], end
            continue
        if joined:
            yield joined
        joined = start, end
    if joined:
        yield joined


def _marked(hit: Hit, terms: _Terms) -> Hit:
    spans = terms.spans(hit.text)
    snippet, in_snippet = _snippet(hit.text, spans)
    found = Highlights(tuple(terms.spans(hit.title)), tuple(spans), snippet, in_snippet)
    passages = tuple(_marked(passage, terms) for passage in hit.passages)
    return replace(hit, highlights=found, passages=passages)


@cache
def _terms_of_word(analyzer: Analyzer) -> Callable[[str], tuple[str, ...]]:
    analyze = analyzer.terms_of()
    return lru_cache(_KNOWN_WORDS)(lambda word: tuple(analyze(word)))


def _snippet(text: str, spans: Sequence[Span]) -> tuple[str, tuple[Span, ...]]:
    """Return the part of a text with the most different marked words, on one line, and their places in it."""
    start = max(0, _best_start(text, spans) - _BEFORE) if spans and len(text) > SNIPPET else 0
    if start:
        start = text.find(" ", start, start + _BEFORE) + 1 or start
    end = start + SNIPPET
    if end < len(text):
        end = max(text.rfind(" ", start, end), start + SNIPPET // 2)
    before, after = "…" if start else "", "…" if end < len(text) else ""
    places = [(first, last) for first, last in spans if start <= first and last <= end]
    shift = len(before) - start
    # Blanks stay one to one, so that places do.
    part = text[start:end].translate(_BLANKS).rstrip()
    return f"{before}{part}{after}", tuple((first + shift, last + shift) for first, last in places)


def _best_start(text: str, spans: Sequence[Span]) -> int:
    """Return where the most different marked words stand close together; the first of equally good places."""
    room = SNIPPET - 2 * _BEFORE
    if spans[-1][1] - spans[0][0] <= room:
        return spans[0][0]
    best, most, first = spans[0][0], 0, 0
    words: dict[str, int] = {}
    for start, end in spans:
        word = text[start:end]
        words[word] = words.get(word, 0) + 1
        while end - spans[first][0] > room and spans[first][0] < start:
            gone = text[slice(*spans[first])]
            words[gone] -= 1
            if not words[gone]:
                del words[gone]
            first += 1
        if len(words) > most:
            best, most = spans[first][0], len(words)
    return best
