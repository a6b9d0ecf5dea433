"""Cuts documentation into passages, and a docstring into its summary (the query) and the rest (the answer)."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["cut", "summary_and_rest", "words"]

PASSAGE_WORDS = 120
"""A passage ends after the paragraph with which it reaches this many words."""

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`'\"(])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|resp)\.$")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """Return the runs of letters of a text."""
    return _WORD.findall(text)


def cut(text: str) -> Iterator[str]:
    """Cut a text between paragraphs into passages of at least :data:`PASSAGE_WORDS` words (the last may be shorter)."""
    passages: list[list[str]] = []
    size = PASSAGE_WORDS
    for paragraph in _PARAGRAPHS.split(text):
        if size >= PASSAGE_WORDS:
            passages.append([])
            size = 0
        passages[-1].append(paragraph)
        size += len(paragraph.split())
    if len(passages) > 1 and size < PASSAGE_WORDS // 4:
        passages[-2].extend(passages.pop())
    for paragraphs in passages:
        yield "\n\n".join(paragraphs).strip("\n")


def summary_and_rest(text: str) -> tuple[str, str]:
    """Return the first sentence of the first paragraph, on one line, and the rest of the text."""
    first, *others = _PARAGRAPHS.split(text, maxsplit=1)
    end = next((m for m in _SENTENCE_END.finditer(first) if not _ABBREVIATION.search(first[: m.start()])), None)
    summary, tail = (first, "") if end is None else (first[: end.start()], first[end.end() :])
    rest = "\n\n".join(part for part in (tail, *others) if part.strip())
    return " ".join(summary.split()), rest
