"""What documents hold at each of their versions, and what a search may therefore see of them.

A document is owned by one writer, which numbers its versions 1, 2, 3 and notes for each when it began to write it and
when the product had acknowledged it. A search that began when version ``a`` was the last one acknowledged, and ended
when ``b`` was the last one begun, may see any version from ``a`` to ``b``, and no other. What a version holds follows
from its number alone.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hybrid_search import Document

__all__ = ["GROUPS", "Contents", "Ledger", "contents", "name_of"]

GROUPS = 3
_LENGTH = 8
_WORDS: tuple[str | None, ...] = (
    "cat", "dog", "", None, "cat dog", "tree", "cat", "car", "kitten puppy", None, "puppy", "",
)  # fmt: skip
"""What versions are about: words of ``fakes.AXES``, none (so that there is no vector), or None: a deletion."""

_AXES = {"cat": (1, 0, 0), "dog": (0, 1, 0), "tree": (0, 0, 1)}


@dataclass(frozen=True, slots=True)
class Contents:
    """One version of one document.

    :ivar repeats: how often it has the word ``common``; all versions are equally long, so BM25 ranks by this alone.
    :ivar cosines: of its vector with that of the query ``cat``, ``dog`` and so on; None without a vector.
    """

    document: Document | None
    words: frozenset[str]
    repeats: int
    group: int
    cosines: dict[str, float] | None


def name_of(number: int) -> str:
    """Return a document's id; ids sort as numbers do."""
    return f"d{number:03}"


@cache
def contents(number: int, version: int) -> Contents:
    """Return what a version of a document holds; version 0 is before its first addition."""
    kind = (5 * number + version) % len(_WORDS)
    words = _WORDS[kind] if version else None
    if words is None:
        return Contents(None, frozenset(), 0, 0, None)
    about = words.split()
    repeats, group = 1 + kind % 3, (number + version) % GROUPS
    own = f"d{number}v{version}"
    tokens = [*["common"] * repeats, *about, own]
    tokens += ["filler"] * (_LENGTH - len(tokens))
    document = Document(
        name_of(number), " ".join(tokens), metadata={"number": number, "version": version, "group": f"g{group}"}
    )
    return Contents(document, frozenset(tokens), repeats, group, _cosines(about))


def _cosines(about: list[str]) -> dict[str, float] | None:
    if not about:
        return None
    axes = {"kitten": "cat", "puppy": "dog"}
    of_document = {axes.get(word, word) for word in about}
    length = len(of_document) ** 0.5
    return {query: (query in of_document) / length for query in _AXES}


class Ledger:
    """Which version of each document was begun and acknowledged last.

    Writing is for the owner of a document; a snapshot is taken in one step.

    :param file: of a ledger that processes share; made where there is none.
    """

    def __init__(self, documents: int, file: Path | None = None) -> None:
        size = 8 * (2 * documents + 1)
        if file is None:
            memory = mmap.mmap(-1, size)
        else:
            with file.open("a+b") as opened:
                opened.truncate(size)
                memory = mmap.mmap(opened.fileno(), size)
        cells = memoryview(memory).cast("q")
        self._began, self._acknowledged = cells[:documents], cells[documents : 2 * documents]
        self._end = cells[2 * documents :]
        self.documents = documents

    @property
    def is_over(self) -> bool:
        """Whether the writers are to end."""
        return self._end[0] != 0

    def end(self) -> None:
        """Tell the writers to end."""
        self._end[0] = 1

    def next_of(self, number: int) -> int:
        """Return the version that comes next."""
        return self._began[number] + 1

    def begin(self, numbers: list[int]) -> None:
        """Their next versions are about to be written."""
        for number in numbers:
            self._began[number] += 1

    def acknowledge(self, numbers: list[int]) -> None:
        """What was begun is acknowledged."""
        for number in numbers:
            self._acknowledged[number] = self._began[number]

    def acknowledged(self) -> list[int]:
        """Return the last acknowledged version of each document."""
        return self._acknowledged.tolist()

    def begun(self) -> list[int]:
        """Return the last begun version of each document."""
        return self._began.tolist()
