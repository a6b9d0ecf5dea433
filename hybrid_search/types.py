"""The records every part speaks: documents, queries, judgements, rankings, hits.

Imports the standard library only. All records are immutable.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "ID_FAULTS_OF_OLD",
    "LONGEST_ID",
    "Document",
    "Example",
    "Hit",
    "Judgement",
    "Leg",
    "MetadataValue",
    "Query",
    "Ranking",
    "Rejection",
    "Run",
    "by_score_then_id",
    "id_fault",
    "normalise_text",
    "text_hash",
]

MetadataValue = str | int | float | bool | tuple[str, ...]
"""One metadata value: a keyword, a number, a truth value, or several keywords."""

Run = Mapping[str, Mapping[str, float]]
"""A run: query id -> document id -> score."""


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable text. ``id`` is unique in an index; adding the same id again replaces the document."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    @property
    def searchable_text(self) -> str:
        """What both legs index: the title, then the text."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """One question of a query set."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How relevant one document is to one query; ``grade`` 0 means judged and not relevant."""

    query_id: str
    document_id: str
    grade: int


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a query, a document that answers it, and documents that do not.

    ``negatives`` are those that came with the data (a triple's negative, the unselected passages of a result page).
    ``answers`` are the known answer strings; a mined negative that contains one is taken for a false negative.
    """

    query: Query
    positive: Document
    negatives: tuple[Document, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that was refused: where it stood, what was wrong, and the record itself, so that nothing is lost.

    :ivar source: the file, or ``index`` when an engine refused it.
    :ivar line: 1-based line (or row) in the source, 0 when unknown.
    :ivar field: the field at fault, empty when the whole record is.
    """

    source: str
    line: int
    field: str
    reason: str
    record: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One leg's answer to one query: document ids and their scores, best first, ties by id.

    :ivar versions: which state of each document was ranked, in numbers of the engine's own: one that is replaced before
        its text is fetched has another. Empty where nobody knows.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    versions: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def after(self, offset: int) -> Ranking:
        """Return the ranking without its first hits."""
        return Ranking(self.ids[offset:], self.scores[offset:], self.versions[offset:]) if offset else self


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg (``bm25`` or ``knn``) contributed to a hit.

    :ivar score: the leg's raw score, in the engine's scale (BM25, or OpenSearch's k-NN score).
    :ivar rank: 1-based position in the leg's window.
    :ivar normalised: the score after normalisation (for RRF the reciprocal-rank term).
    :ivar weight: the leg's fusion weight.
    :ivar share: the leg's part of the final score, 0..1; the shares of a hit's legs sum to 1.
    """

    score: float
    rank: int
    normalised: float
    weight: float
    share: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. ``rank`` is 1-based over all pages; ``legs`` has one entry per leg that found the document."""

    id: str
    rank: int
    score: float
    text: str = ""
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    legs: Mapping[str, Leg] = field(default_factory=dict)


LONGEST_ID = 512
"""UTF-8 bytes; OpenSearch's limit."""


ID_FAULTS_OF_OLD = ("blank", "has a control character")
"""What :func:`id_fault` says of ids that were taken once."""


def id_fault(id: str) -> str:
    """Say why a text can't name a document in every engine; empty if it can."""
    if not id.strip():
        return ID_FAULTS_OF_OLD[0]
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        return f"no valid Unicode: a lone surrogate at character {error.start + 1}"
    if size > LONGEST_ID:
        return f"{size} bytes long in UTF-8, at most {LONGEST_ID} can be stored"
    return ID_FAULTS_OF_OLD[1] if any(ord(character) < 32 for character in id) else ""


def by_score_then_id(scores: Mapping[str, float] | Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort (id, score) pairs into the ranking order used everywhere: score descending, then id ascending."""
    pairs = scores.items() if isinstance(scores, Mapping) else scores
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def normalise_text(text: str) -> str:
    """Fold what does not make two texts different: Unicode form (NFKC), case, and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> str:
    """Name a text by its content: 16 hexadecimal digits of the SHA-256 of its normalised form."""
    return hashlib.sha256(normalise_text(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]
