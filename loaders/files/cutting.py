"""Cuts a long text into passages: at headings, then paragraphs, sentences, words; with some overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hybrid_search.passages import COUNT, HEADING, NUMBER, OF, passage_id
from hybrid_search.types import Document, MetadataValue, Section, SectionedDocument

__all__ = ["Cutter"]

_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|(?<=[。！？])|\n")
_LETTERS_A_WORD = 6
"""A run without blanks, as in Chinese, counts a word for each so many letters."""


@dataclass(frozen=True, slots=True)
class Cutter:
    """How long passages are, in words.

    :ivar words: most words of a passage; a single section below a third of it is joined with the next one.
    :ivar overlap: most words of the sentences before that a passage repeats, inside a section.
    """

    words: int = 120
    overlap: int = 24

    def passages(self, document: Document) -> Iterator[Document]:
        """Yield a document's passages, at least one; each has the title with its heading path, and the metadata."""
        sections = document.sections if isinstance(document, SectionedDocument) else (Section((), document.text),)
        made = self._cut(sections) or [((), "")]
        for number, (headings, text) in enumerate(made, 1):
            metadata: dict[str, MetadataValue] = {
                **document.metadata, OF: document.id, NUMBER: number, COUNT: len(made)
            }  # fmt: skip
            if headings:
                metadata[HEADING] = " › ".join(headings)
            # The first headings of a page often repeat its title, or the name of the site that is in it.
            new = (name for name in headings if name.casefold() not in document.title.casefold())
            title = " › ".join(part for part in (document.title, *new) if part)
            yield Document(passage_id(document.id, number), text, title, metadata)

    def _cut(self, sections: tuple[Section, ...]) -> list[tuple[tuple[str, ...], str]]:
        made: list[tuple[tuple[str, ...], str]] = []
        pieces: list[str] = []
        headings: tuple[str, ...] = ()
        size = 0
        for section in sections:
            if pieces and 3 * size >= self.words:
                made.append((headings, "".join(pieces).strip()))
                pieces, size = [], 0
            if not pieces:
                headings = section.headings
            elif section.headings:
                pieces.append(f"{section.headings[-1]}\n\n")
            for piece in self._pieces(section.text):
                length = _length(piece)
                if pieces and size + length > self.words:
                    made.append((headings, "".join(pieces).strip()))
                    headings = section.headings
                    pieces = self._repeated(pieces)
                    size = sum(map(_length, pieces))
                pieces.append(piece)
                size += length
        if pieces:
            made.append((headings, "".join(pieces).strip()))
        return [(names, text) for names, text in made if text]

    def _repeated(self, pieces: list[str]) -> list[str]:
        """Return the last pieces of a passage, as far as they may be repeated in the next one."""
        kept: list[str] = []
        size = 0
        for piece in reversed(pieces):
            size += _length(piece)
            if size > self.overlap:
                break
            kept.insert(0, piece)
        return kept if len(kept) < len(pieces) else []

    def _pieces(self, text: str) -> Iterator[str]:
        """Yield a text's sentences with what separates them, none longer than a passage."""
        for paragraph in _PARAGRAPHS.split(text):
            for sentence in _split(paragraph):
                yield from _parts(sentence, self.words)
            yield "\n\n"


def _split(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(paragraph):
        yield paragraph[start : end.end()]
        start = end.end()
    yield paragraph[start:]


def _parts(sentence: str, words: int) -> Iterator[str]:
    if _length(sentence) <= words:
        yield sentence
        return
    longest = words * _LETTERS_A_WORD
    part: list[str] = []
    for run in re.findall(r"\S+\s*|\s+", sentence):
        for cut in (run[at : at + longest] for at in range(0, len(run), longest)):
            if part and _length("".join(part)) + _length(cut) > words:
                yield "".join(part)
                part = []
            part.append(cut)
    yield "".join(part)


def _length(text: str) -> int:
    words = text.split()
    return max(len(words), sum(map(len, words)) // _LETTERS_A_WORD)
