"""The records that all parts exchange: documents, queries, judgements, rankings, hits.

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
    "Highlights",
    "Hit",
    "Judgement",
    "Leg",
    "Matches",
    "MetadataValue",
    "Query",
    "Ranking",
    "Rejection",
    "Run",
    "Section",
    "SectionedDocument",
    "Span",
    "by_score_then_id",
    "can_be_held",
    "id_fault",
    "is_unicode",
    "normalise_text",
    "text_hash",
]

MetadataValue = str | int | float | bool | tuple[str, ...]
"""One metadata value: a keyword, a number, a boolean, or several keywords."""

Run = Mapping[str, Mapping[str, float]]
"""A run: query id -> document id -> score."""


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable text. ``id`` is unique in an index; adding a document with an existing id replaces it.

    :ivar metadata: a field that was declared a date takes ``datetime.date`` and ``datetime.datetime`` too, without a
        zone in UTC; the index gives its text back.
    :ivar origin: the file and the line (from 1) that a loader read it from, for whoever rejects it; no index keeps it.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    origin: tuple[str, int] | None = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def searchable_text(self) -> str:
        """The text that both legs index: title, a space, text."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a long text.

    :ivar headings: the headings above it, outermost first, without the document's title.
    """

    headings: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SectionedDocument(Document):
    """A document whose text has headings; an index of passages cuts it there.

    :ivar sections: all of the text, in order.
    """

    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a data set."""

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

    ``negatives`` are those of the data set (a triple's negative, the unselected passages of a result page).
    ``answers`` are known answer strings; a mined negative that contains one is treated as a false negative.
    """

    query: Query
    positive: Document
    negatives: tuple[Document, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One rejected record: where it was read, what is wrong with it, and the record itself, so that nothing is lost.

    :ivar source: the file; ``index`` if an engine rejected a document that no loader read.
    :ivar line: line (or row) in the source, from 1; 0 if unknown.
    :ivar field: the field at fault; empty if it is the whole record.
    :ivar reason: what is wrong.
    :ivar record: the record as it was read; may be empty.
    """

    source: str
    line: int
    field: str
    reason: str
    record: str = ""

    @property
    def fault(self) -> str:
        """The field and what is wrong, for display; the field once, where the reason begins with it."""
        return (
            self.reason
            if not self.field or f"{self.reason} ".startswith(f"{self.field} ")
            else f"{self.field}: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """A ranking for one query: document ids and their scores, best first, ties by id.

    :ivar versions: the engine's version number of each document that was ranked, to detect documents that are replaced
        before their texts are fetched; empty if unknown.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    versions: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def after(self, offset: int) -> Ranking:
        """Return the ranking without its first ``offset`` documents."""
        return Ranking(self.ids[offset:], self.scores[offset:], self.versions[offset:]) if offset else self


@dataclass(frozen=True, slots=True)
class Leg:
    """The contribution of one leg (``bm25`` or ``knn``) to a hit.

    :ivar score: the leg's raw score (BM25, or OpenSearch's k-NN score).
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


Span = tuple[int, int]
"""A part of a text: its first character, and the one after its last."""


@dataclass(frozen=True, slots=True)
class Highlights:
    """Where a hit matched: the places of the words with a term of the query.

    :ivar title: in the hit's title.
    :ivar text: in its text, of which the first 100,000 characters are looked at.
    :ivar snippet: the part of the text with the most different ones of them, on one line; the beginning without any.
    :ivar in_snippet: their places in the snippet.
    """

    title: tuple[Span, ...] = ()
    text: tuple[Span, ...] = ()
    snippet: str = ""
    in_snippet: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. ``rank`` counts from 1 over all pages; ``legs`` has an entry for each leg that found it.

    :ivar passages: of a document that was found by its passages, the best of them, best first; their ``rank`` counts
        all passages. Score, text, title, metadata and legs of the hit are those of the first.
    :ivar highlights: where it matched; None unless requested.
    :ivar first_rank: its rank before reranking, from 1; None unless it was ranked again. Then ``rank`` and ``score``
        are those of the reranker or of the diversity, and ``legs`` still explain ``first_score``.
    :ivar first_score: its score before that.
    """

    id: str
    rank: int
    score: float
    text: str = ""
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    legs: Mapping[str, Leg] = field(default_factory=dict)
    passages: tuple[Hit, ...] = ()
    highlights: Highlights | None = None
    first_rank: int | None = None
    first_score: float | None = None

    @property
    def searchable_text(self) -> str:
        """The text that both legs index, as :attr:`Document.searchable_text`; of the best passage if it has some."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Matches:
    """How many documents match a query, and which metadata they have.

    :ivar total: number of matching documents; of passages in a search that is not grouped.
    :ivar facets: field -> value -> number of matching documents with it, most first, then by value.
    :ivar is_exact: whether all numbers are exact; else each is at least so many.
    """

    total: int
    facets: Mapping[str, Mapping[str | int | float | bool, int]] = field(default_factory=dict)
    is_exact: bool = True

    def shown(self) -> dict[str, object]:
        """Return the counts in the form that JSON takes: a list for each field, as a value may be no text."""
        facets = {
            field: [{"value": value, "count": count} for value, count in counts.items()]
            for field, counts in self.facets.items()
        }
        return {"total": self.total, "is_exact": self.is_exact, "facets": facets}


LONGEST_ID = 512
"""Most bytes of an id in UTF-8; OpenSearch's limit."""


ID_FAULTS_OF_OLD = ("blank", "has a control character")
"""Faults reported by :func:`id_fault` that earlier versions accepted."""


def id_fault(id: str) -> str:
    """Return why a text can't be a document's id in every engine; empty if it can."""
    if not id.strip():
        return ID_FAULTS_OF_OLD[0]
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        return f"no valid Unicode: a lone surrogate at character {error.start + 1}"
    if size > LONGEST_ID:
        return f"{size} bytes long in UTF-8, at most {LONGEST_ID} can be stored"
    return ID_FAULTS_OF_OLD[1] if any(ord(character) < 32 for character in id) else ""


def can_be_held(id: str) -> bool:
    """Return whether a document of an index can have an id: of any index, as earlier versions took more of them."""
    fault = id_fault(id)
    return not fault or (bool(id) and fault in ID_FAULTS_OF_OLD)


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8: it has no lone surrogate, half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def by_score_then_id(scores: Mapping[str, float] | Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort (id, score) pairs into the ranking order used everywhere: score descending, then id ascending."""
    pairs = scores.items() if isinstance(scores, Mapping) else scores
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def normalise_text(text: str) -> str:
    """Normalise Unicode form (NFKC), case and white space, so that texts that differ in these alone become equal."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of the normalised text."""
    return hashlib.sha256(normalise_text(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]
