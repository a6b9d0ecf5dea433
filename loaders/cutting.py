"""Cuts a long text into passages: at headings, then paragraphs, sentences, words; with some overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hybrid_search.errors import UsageError
from hybrid_search.passages import COUNT, HEADING, NUMBER, OF, Pieces, passage_id
from hybrid_search.types import Document, MetadataValue, Section, SectionedDocument

__all__ = ["WHOLE", "Cutter", "cutter_of"]

WHOLE = "whole"
_FEWEST_WORDS = 20
_MOST_WORDS = 10_000
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|(?<=[。！？])|\n")
_LETTERS_A_WORD = 6
"""A run without blanks, as in Chinese, counts a word for each so many letters."""


@dataclass(frozen=True, slots=True)
class Cutter:
    """How long passages are: in word pieces of the towers if these are known, else in words.

    :ivar words: most words or pieces of a passage; a single section below a third of it is joined with the next one.
        With pieces, title and headings count too.
    :ivar overlap: most of the sentences before that a passage repeats, inside a section.
    """

    words: int = 120
    overlap: int = 24
    pieces: Pieces | None = None

    def passages(self, document: Document) -> Iterator[Document]:
        """Yield a document's passages, at least one; each has the title with its heading path, and the metadata."""
        sections = document.sections if isinstance(document, SectionedDocument) else (Section((), document.text),)
        made = _Cut(self, document.title).passages(sections) or [((), "")]
        for number, (headings, text) in enumerate(made, 1):
            metadata: dict[str, MetadataValue] = {
                **document.metadata, OF: document.id, NUMBER: number, COUNT: len(made)
            }  # fmt: skip
            if headings:
                metadata[HEADING] = " › ".join(headings)
            title, id = _title(document.title, headings), passage_id(document.id, number)
            yield Document(id, text, title, metadata, origin=document.origin)


def cutter_of(config: str, name: str, default: Cutter | None, pieces: Pieces | None) -> Cutter | None:
    """Return the cutter that a loader's configuration asks for; None to leave documents whole.

    :param default: without a configuration.
    :param pieces: of the towers, if they are known: by default a passage then has as many as they read.
    :raises UsageError: if the configuration is another.
    """
    if config == WHOLE or (not config and default is None):
        return None
    if config in ("", "passages"):
        return Cutter(pieces.most, pieces.most // 5, pieces) if pieces else default or Cutter()
    if not (config.isascii() and config.isdecimal() and _FEWEST_WORDS <= int(config) <= _MOST_WORDS):
        raise UsageError(
            f"the configuration of {name} is {config!r}; it must be 'passages', the most words of a passage (word "
            f"pieces, where the towers are known), {_FEWEST_WORDS} to {_MOST_WORDS}, or {WHOLE!r}"
        )
    return Cutter(int(config), int(config) // 5, pieces)


def _title(title: str, headings: tuple[str, ...]) -> str:
    # The first headings of a page often repeat its title, or the name of the site that is in it.
    new = (name for name in headings if name.casefold() not in title.casefold())
    return " › ".join(part for part in (title, *new) if part)


class _Cut:
    """One document's cut."""

    def __init__(self, cutter: Cutter, title: str) -> None:
        self._cutter = cutter
        self._title = title
        self._length = cutter.pieces.count if cutter.pieces else _words
        # A run of letters has at most a piece for each of them.
        self._letters = cutter.words // 3 if cutter.pieces else cutter.words * _LETTERS_A_WORD

    def passages(self, sections: tuple[Section, ...]) -> list[tuple[tuple[str, ...], str]]:
        """Return (headings, text) of each passage that has a text."""
        made: list[tuple[tuple[str, ...], str]] = []
        pieces: list[tuple[str, int]] = []
        headings: tuple[str, ...] = ()
        size, most = 0, self._cutter.words
        for section in sections:
            if pieces and 3 * size >= most:
                made.append((headings, _joined(pieces)))
                pieces, size = [], 0
            if not pieces:
                headings, most = section.headings, self._most(section.headings)
            elif section.headings:
                heading = f"{section.headings[-1]}\n\n"
                pieces.append((heading, self._length(heading)))
                size += pieces[-1][1] if self._cutter.pieces else 0
            for piece, length in self._pieces(section.text, most):
                if pieces and size + length > most:
                    made.append((headings, _joined(pieces)))
                    headings, most = section.headings, self._most(section.headings)
                    pieces = self._repeated(pieces, most - length)
                    size = sum(length for _, length in pieces)
                pieces.append((piece, length))
                size += length
        if pieces:
            made.append((headings, _joined(pieces)))
        return [(names, text) for names, text in made if text]

    def _most(self, headings: tuple[str, ...]) -> int:
        """Return how long a text below these headings may be."""
        if self._cutter.pieces is None:
            return self._cutter.words
        return max(self._cutter.words // 3, self._cutter.words - self._length(_title(self._title, headings)))

    def _repeated(self, pieces: list[tuple[str, int]], room: int) -> list[tuple[str, int]]:
        """Return the last pieces of a passage, as far as they may be repeated in the next one."""
        kept: list[tuple[str, int]] = []
        size = 0
        for piece in reversed(pieces):
            size += piece[1]
            if size > (self._cutter.overlap if self._cutter.pieces is None else min(self._cutter.overlap, room)):
                break
            kept.insert(0, piece)
        return kept if len(kept) < len(pieces) else []

    def _pieces(self, text: str, most: int) -> Iterator[tuple[str, int]]:
        """Yield a text's sentences with what separates them and their lengths, none longer than a passage."""
        for paragraph in _PARAGRAPHS.split(text):
            for sentence in _split(paragraph):
                yield from self._parts(sentence, most)
            yield "\n\n", 0

    def _parts(self, sentence: str, most: int) -> Iterator[tuple[str, int]]:
        if (length := self._length(sentence)) <= most:
            yield sentence, length
            return
        part: list[str] = []
        size = 0
        for run in re.findall(r"\S+\s*|\s+", sentence):
            for cut in (run[at : at + self._letters] for at in range(0, len(run), self._letters)):
                length = self._length("".join(part) + cut) if self._cutter.pieces is None else size + self._length(cut)
                if part and length > most:
                    yield "".join(part), size
                    part, length = [], self._length(cut)
                part.append(cut)
                size = length
        yield "".join(part), size


def _joined(pieces: list[tuple[str, int]]) -> str:
    return "".join(text for text, _ in pieces).strip()


def _split(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(paragraph):
        yield paragraph[start : end.end()]
        start = end.end()
    yield paragraph[start:]


def _words(text: str) -> int:
    words = text.split()
    return max(len(words), sum(map(len, words)) // _LETTERS_A_WORD)
