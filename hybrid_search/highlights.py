"""Where hits matched.

The words of a hit whose terms the query has (of ``parseData`` a part of it), and the part of its text that shows them
best.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate, pairwise

from hybrid_search.analysis import Analyzer, asked_terms
from hybrid_search.analysis.identifiers import places_of_parts
from hybrid_search.types import Highlights, Hit, Span

__all__ = ["marked"]

SNIPPET = 200
"""Characters of a snippet, about; it begins and ends between words."""

_LONGEST = 100_000
"""Most characters of a text that are looked at."""

_BEFORE = 40
_BLANK = re.compile("[\n\t\r\v\f\u2028\u2029\x85]")
_MARKS = "".join(chr(code) for code in range(0x300, 0x1000) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
_INSIDE = rf"[{_MARKS}\u3099\u309a\u00ad\u200c\u200d]"
_WORD = re.compile(rf"[^\W_](?:[^\W_]|{_INSIDE})*")
_INNER = re.compile("[0-9a-z][A-Z]|[A-Z]{2}[a-z]")
_FOREIGN = re.compile("[^\x00-\x7f]+")
_IN_WORD = re.compile(rf"[^\W_]|{_INSIDE}")
_REST = re.compile(rb"[0-9A-Za-z]*")
_LETTERS = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))
"""ASCII in small letters, and a blank for all that separates words."""

_KNOWN_WORDS = 1 << 16
_OTHERWISE = re.compile("sky|.ie")
"""Stems of words that begin otherwise: *skies*, *dying*."""


def marked(queries: Sequence[str], hits: Sequence[Sequence[Hit]], analyzer: Analyzer) -> list[list[Hit]]:
    """Return each query's hits with highlights, their passages too.

    :param queries: n texts, and the hits of each.
    """
    terms_of = asked_terms(analyzer, log=False)
    found = []
    for query, of_query in zip(queries, hits, strict=True):
        terms = _Terms(frozenset(terms_of(query)), analyzer)
        places = terms.places(_texts(of_query))
        found.append([_marked(hit, places) for hit in of_query])
    return found


def _texts(hits: Iterable[Hit]) -> Iterator[str]:
    for hit in hits:
        yield hit.title
        yield hit.text
        yield from _texts(hit.passages)


class _Terms(dict[str, tuple[Span, ...]]):
    """The terms of a query; remembers of each word which parts of it are to be marked."""

    def __init__(self, terms: frozenset[str], analyzer: Analyzer) -> None:
        self._terms = terms
        self._terms_of = _terms_of_word(analyzer)
        self._analyzer = analyzer
        self._first_letters = frozenset(letter for term in terms for letter in (term[0], term[0].upper()))
        # How a word of ASCII begins that has one of the terms.
        self._beginnings = {one.encode() for term in terms for one in beginnings(term, analyzer) if one.isascii()}

    def __missing__(self, word: str) -> tuple[Span, ...]:
        if word.isascii() and (word.islower() or not _INNER.search(word)):  # most words: of one part
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

    def places(self, texts: Iterable[str]) -> dict[str, list[Span]]:
        """Return text -> the places of the words with a term of the query, in order."""
        found: dict[str, list[Span]] = {text: [] for text in texts}
        if not self._terms or not found:
            return found
        # All of a page at once: each step is C's work on much text then, and not Python's on little.
        marked = self._marked_words("\n".join([text[:_LONGEST] for text in found]))
        each = iter(found.items())
        base, following, here = 0, 0, list[Span]()
        for at in sorted(marked):
            while at >= following:
                text, here = next(each)
                base, following = following, following + min(len(text), _LONGEST) + 1
            first = at - base
            for start, end in marked[at]:
                here.append((first + start, first + end))
        return found

    def _marked_words(self, text: str) -> dict[int, tuple[Span, ...]]:
        """Return the place of each word with a term -> which parts of it are to be marked.

        Of ASCII few words are looked at: to look for beginnings in bytes takes a small part of that time.
        """
        found: dict[int, tuple[Span, ...]] = {}
        letters = text.encode("ascii", "replace")  # as many bytes as the text has characters
        if not text.isascii():
            places = list(_foreign_places(text, letters))
            for start, end in places:
                found.update(
                    (word.start(), marks) for word in _WORD.finditer(text, start, end) if (marks := self[word[0]])
                )
            letters = _without(letters, places)
        words = b" %b " % letters.translate(_LETTERS)
        for one in self._beginnings:
            at = words.find(one)
            while at >= 0:
                end = words.find(b" ", at + 1)
                if marks := self[text[at : end - 1]]:
                    found[at] = marks
                at = words.find(one, end)
        if self._analyzer.parts:
            for at in places_of_parts(letters):
                start, end = words.rfind(b" ", 0, at + 2), words.find(b" ", at + 1)
                if marks := self[text[start : end - 1]]:
                    found[start] = marks
        return found


def beginnings(term: str, analyzer: Analyzer) -> tuple[str, ...]:
    """Return what words of ASCII with this term begin with, after a blank, in small letters; a blank ends a word.

    A stem of English is its word's beginning, but for a last letter of *i* (happy), *e* (hoping) or *l* (ability).
    """
    if analyzer.suffixes:
        return (f" {term}",)
    if not analyzer.stemmer:
        return (f" {term} ",)
    if analyzer.stemmer != "english" or _OTHERWISE.fullmatch(term):
        return (f" {term[0]}",)
    if len(term) == 1:
        return f" {term} ", f" {term}ed", f" {term}ing"
    return (f" {term[:-1]}" if len(term) > 2 and term[-1] in "iel" else f" {term}",)


def _foreign_places(text: str, letters: bytes) -> Iterator[Span]:
    """Yield the places of the words with a character outside of ASCII; neighbours of such words may be in them.

    :param letters: the text's characters as ASCII, others as any that is no letter.
    """
    last = 0
    for run in _FOREIGN.finditer(text):
        if run.start() < last or not _IN_WORD.search(run[0]):
            continue
        start, last = run.span()
        while start and letters[start - 1 : start].isalnum():
            start -= 1
        following: re.Match[str] | None = run
        while following is not None:  # up to the next character of ASCII that separates words
            last = _end(letters, following.end())
            following = _FOREIGN.match(text, last)
        yield start, last


def _without(letters: bytes, places: Sequence[Span]) -> bytes:
    left = bytearray(letters)
    for start, end in places:
        left[start:end] = b" " * (end - start)
    return bytes(left)


def _end(letters: bytes, at: int) -> int:
    rest = _REST.match(letters, at)
    return rest.end() if rest else at


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


def _marked(hit: Hit, places: Mapping[str, Sequence[Span]]) -> Hit:
    spans = places[hit.text]
    snippet, in_snippet = _snippet(hit.text, spans)
    found = Highlights(tuple(places[hit.title]), tuple(spans), snippet, in_snippet)
    passages = tuple([_marked(passage, places) for passage in hit.passages])
    # Three times as quick as dataclasses.replace.
    return Hit(
        hit.id, hit.rank, hit.score, hit.text, hit.title, hit.metadata, hit.legs, passages, found, hit.first_rank,
        hit.first_score,
    )  # fmt: skip


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
    shift = len(before) - start
    places = tuple([(first + shift, last + shift) for first, last in spans if start <= first and last <= end])
    part = text[start:end]
    if not part.isprintable():
        part = _BLANK.sub(" ", part)  # one to one, so that places stay
    return f"{before}{part.rstrip()}{after}", places


def _best_start(text: str, spans: Sequence[Span]) -> int:
    """Return where the most different marked words stand close together; the first of equally good places."""
    room = SNIPPET - 2 * _BEFORE
    if spans[-1][1] - spans[0][0] <= room:
        return spans[0][0]
    best, most, first = spans[0][0], 0, 0
    words = [text[start:end] for start, end in spans]
    counts: dict[str, int] = {}
    for word, (start, end) in zip(words, spans, strict=True):
        counts[word] = counts.get(word, 0) + 1
        while end - spans[first][0] > room and spans[first][0] < start:
            gone = words[first]
            if counts[gone] == 1:
                del counts[gone]
            else:
                counts[gone] -= 1
            first += 1
        if len(counts) > most:
            best, most = spans[first][0], len(counts)
    return best
