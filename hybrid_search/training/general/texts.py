"""The texts that a general model learns from: passages, and texts like queries that are cut out of them.

A folder of texts has ``passages-*.jsonl.gz`` (``{"id": "source/number", "title", "text"}``, in mixed order, so that any
prefix is a sample), ``queries.txt.gz`` (a line each) and ``SOURCES.tsv`` with the licence of every source.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from hybrid_search.errors import DataError
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_batches
from hybrid_search.training.teacher.vectors import sentences_of

__all__ = ["HELD_OUT", "KINDS", "GeneralTexts", "Lot", "may_be_shipped"]

KINDS = ("passage", "query", "title", "sentence", "phrase", "keywords", "word")
"""Kinds of texts; a lot names the kind of each text by its place here. All but passages are like queries."""

HELD_OUT = ("openstax-principles-finance", "recipes", "gnome")
"""Sources that are never trained on: whole kinds of text, by which a run is judged."""

LOT = 4_096  # passages; with what is cut out of them about 12,000 texts, 450,000 word pieces
_PASSAGE_LOTS = 6  # for each lot of queries, as long as there are any
_WORDS = 30_000
_HELD_QUERIES = 40  # one in so many
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_CLAUSE = re.compile(r"[,;:()\[\]\"“”—–]|\.{2,}|\s-\s")
_COMMON = 150  # the most frequent words: no phrase begins or ends with one, and none is a keyword


@dataclass(frozen=True, slots=True)
class Lot:
    """Some of the texts, encoded and stored together.

    :ivar name: sorts after the lots before it; ``held`` for what is never trained on.
    :ivar texts: (place of the kind in :data:`KINDS`, text).
    """

    name: str
    texts: list[tuple[int, str]]


class _Passage(msgspec.Struct):
    id: str
    text: str
    title: str = ""

    @property
    def source(self) -> str:
        return self.id.partition("/")[0]


def may_be_shipped(licence: str) -> bool:
    """Whether weights may be trained on texts under a licence: not where GPL or GFDL is all there is to choose from.

    ``or`` gives a choice, a slash joins parts that all apply; remarks in brackets don't count.
    """
    choices = re.sub(r"\(.*?\)", "", licence).split(" or ")
    return any("GPL" not in choice and "GFDL" not in choice for choice in choices)


class GeneralTexts:
    """A folder of general texts, read in lots that are always the same."""

    def __init__(self, folder: Path) -> None:
        """Read the table of sources.

        :raises DataError: if a part of the folder is missing.
        """
        self._files = sorted(folder.glob("passages-*.jsonl.gz"))
        self._queries = folder / "queries.txt.gz"
        if not self._files or not self._queries.exists():
            raise DataError(f"{folder} has no passages-*.jsonl.gz or no queries.txt.gz; see docs/training.md")
        with disk_errors(f"reading {folder}"), (folder / "SOURCES.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        self.left_out = sorted(row["id_prefix"] for row in rows if not may_be_shipped(row["licence"]))
        self._sources = {row["id_prefix"] for row in rows}.difference(self.left_out)

    def lots(self, counts: Mapping[str, int]) -> Iterator[Lot]:
        """Yield what is held out, then lots of passages, with what is cut out of them, amid lots of queries and words.

        :param counts: of :meth:`words`.
        """
        frequent = list(counts)[:_WORDS]
        common = frozenset(frequent[:_COMMON])
        lines = list(dict.fromkeys(self._lines()))
        held = [KINDS.index("query") for _ in lines[::_HELD_QUERIES]]
        passages = [(0, _document(passage)) for passage in self._passages() if passage.source in HELD_OUT]
        yield Lot("held", [*passages, *zip(held, lines[::_HELD_QUERIES], strict=True)])
        short = [(KINDS.index("query"), line) for row, line in enumerate(lines) if row % _HELD_QUERIES]
        short += [(KINDS.index("word"), word) for word in frequent]
        order = np.random.default_rng(0).permutation(len(short)).tolist()
        queries = (
            Lot(f"a-{number:04}", [short[row] for row in rows])
            for number, rows in enumerate(in_batches(order, 4 * LOT))
        )
        seen = set(lines)
        trained = (passage for passage in self._passages() if passage.source not in HELD_OUT)
        for number, some in enumerate(in_batches(trained, LOT)):
            if number % _PASSAGE_LOTS == 0:
                yield from islice(queries, 1)
            yield Lot(f"b-{number:04}", list(_cut(some, common, counts, seen)))
        yield from queries

    def words(self) -> dict[str, int]:
        """Count the words of all passages, the most frequent first; those seen once are left out."""
        counts = Counter(word for passage in self._passages() for word in _words(passage.text))
        return {word: count for word, count in counts.most_common() if count > 1}

    def _passages(self) -> Iterator[_Passage]:
        decoder = msgspec.json.Decoder(_Passage)
        for path in self._files:
            with disk_errors(f"reading {path}"), gzip.open(path, "rb") as file:
                for line in file:
                    passage = decoder.decode(line)
                    if passage.source in self._sources:
                        yield passage

    def _lines(self) -> Iterator[str]:
        with disk_errors(f"reading {self._queries}"), gzip.open(self._queries, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.strip()


def _cut(
    passages: Iterable[_Passage], common: frozenset[str], counts: Mapping[str, int], seen: set[str]
) -> Iterator[tuple[int, str]]:
    """Yield each passage, and the texts like queries that are cut out of it and were not before."""
    for passage in passages:
        yield 0, _document(passage)
        cut = [("title", passage.title), ("title", passage.title.rpartition(": ")[2]), *_parts(passage, common, counts)]
        for kind, text in cut:
            if text and text not in seen:
                seen.add(text)
                yield KINDS.index(kind), text


def _parts(passage: _Passage, common: frozenset[str], counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield a phrase, and a sentence or some keywords."""
    draw = np.random.default_rng(_number(passage.id))
    sentences = list(sentences_of(passage.text))
    if not sentences:
        return
    sentence = sentences[int(draw.integers(len(sentences)))]
    if draw.random() < 0.5:
        yield "sentence", sentence
    else:
        rare = sorted(
            {word for word in _words(passage.text) if word not in common}, key=lambda w: (counts.get(w, 1), w)
        )
        few = rare[: max(4, len(rare) // 3)]
        some = sorted(draw.choice(len(few), min(len(few), int(draw.integers(2, 6))), replace=False).tolist())
        yield "keywords", " ".join(few[place] for place in some)
    clauses = [clause.split() for clause in _CLAUSE.split(sentence.rstrip(".?!"))]
    words = max(clauses, key=len)
    start = int(draw.integers(max(1, len(words) - 2)))
    words = words[start : start + int(draw.integers(2, 8))]
    while words and words[0].lower() in common:
        words = words[1:]
    while words and words[-1].lower() in common:
        words = words[:-1]
    yield "phrase", " ".join(words)


def _document(passage: _Passage) -> str:
    """Return the passage as documents are encoded, half of them without their title, as many have none."""
    return f"{passage.title} {passage.text}" if _number(passage.id) % 2 else passage.text


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
