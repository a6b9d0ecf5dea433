"""Converts examples to the arrays that the training loop reads: tokens, pairs and negatives by row number."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import TrainingError
from hybrid_search.settings.training import NegativeSource
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.pairs import GetDocuments
from hybrid_search.training.data.rows import Int32, Rows
from hybrid_search.training.teacher.scores import TeacherScores
from hybrid_search.types import Document, Example, text_hash

__all__ = [
    "Corpus",
    "Tokens",
    "TrainingData",
    "ValidationData",
    "build_training_data",
    "build_validation_data",
]

_BATCH = 2_000
_SAMPLE = 50_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenizers with each tower's maximum length: texts -> an int32 array of token ids for each."""

    queries: Callable[[Sequence[str]], Sequence[Int32]]
    documents: Callable[[Sequence[str]], Sequence[Int32]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The source of documents.

    :ivar get: fetches documents by id.
    :ivar documents: all documents, streamed once; a sample of at most 50,000 is added to those of the examples, for
        ``random`` negatives and for examples made from documents alone.
    """

    get: GetDocuments
    documents: Iterable[Document] = ()


@dataclass(frozen=True, slots=True)
class ValidationData:
    """Validation queries and a small corpus that contains their answers, as tokens.

    :ivar relevant: per query, the rows of ``documents`` that answer it.
    """

    queries: Rows
    documents: Rows
    relevant: Rows


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The examples of a run. Texts that are equal when normalised share a row.

    :ivar queries: tokens of each query row; ``documents``: of each document row.
    :ivar pairs: (n, 2) int32: query row, row of a document that answers it; each pair once.
    :ivar positives: per query row, the sorted rows of all documents known to answer it.
    :ivar negatives: per source and query row, the rows of mined negatives; ``random`` draws from all documents.
    :ivar teacher: (query row, document row) -> the teacher's score; empty for other losses.
    :ivar teacher_negatives: per query row, the rows of scored documents that are no answers; None for other losses.
    :ivar validation: None without validation queries.
    :ivar alignment: texts with a teacher's vectors, for the loss ``align``.
    :ivar report: counts made while building.
    """

    queries: Rows
    documents: Rows
    pairs: NDArray[np.int32]
    positives: Rows
    negatives: Mapping[NegativeSource, Rows]
    teacher: Mapping[tuple[int, int], float] = field(default_factory=dict)
    teacher_negatives: Rows | None = None
    validation: ValidationData | None = None
    alignment: Alignment | None = None
    report: Mapping[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """Return a hash of the content, by which a resumed run is known to have the same data."""
        sha = hashlib.sha256(self.pairs.tobytes())
        tables = [self.queries, self.documents, self.positives]
        if self.validation:
            tables += [self.validation.queries, self.validation.documents, self.validation.relevant]
        for name in sorted(self.negatives):
            sha.update(name.encode())
            tables.append(self.negatives[name])
        for rows in tables:
            sha.update(rows.values.tobytes())
            sha.update(rows.offsets.tobytes())
        sha.update(repr(sorted(self.teacher.items())).encode())
        if self.alignment:
            sha.update(self.alignment.digest().encode())
        return sha.hexdigest()


def build_training_data(
    examples: Sequence[Example],
    tokens: Tokens,
    corpus: Corpus,
    *,
    positives: Mapping[str, frozenset[str]],
    negatives: Mapping[NegativeSource, Mapping[str, Sequence[str]]],
    teacher: TeacherScores | None = None,
    validation: ValidationData | None = None,
    alignment: Alignment | None = None,
) -> TrainingData:
    """Convert examples and mined negatives to arrays.

    :param positives: query id -> ids of all documents known to be relevant (``Pairs.positives``).
    :param negatives: source -> query id -> document ids; documents that are not in examples come from the corpus.
    :param teacher: scores for the losses on scores. An example whose positive has no score, or whose query has no
        scored negative, is left out and counted.
    :raises TrainingError: if no example has the teacher's scores, and there is no alignment either.
    """
    queries, documents = _Table(), _Table()
    rows = {e.query.id: queries.add(e.query.id, e.query.text) for e in examples}
    used = _used(negatives, teacher, rows)
    documents.add_documents(d for e in examples for d in (e.positive, *e.negatives) if d is e.positive or d.id in used)
    documents.fetch(used, corpus.get)
    documents.add_documents(_sample(corpus.documents, _SAMPLE, np.random.default_rng(0)))
    answers = _answers(examples, positives, rows, documents.rows)
    pairs = list(dict.fromkeys((rows[e.query.id], documents.rows[e.positive.id]) for e in examples))
    scores, scored = _teacher(teacher, rows, documents.rows, answers)
    kept = pairs if scored is None else [pair for pair in pairs if pair in scores and len(scored[pair[0]])]
    if scored is not None and not kept and alignment is None:
        raise TrainingError(
            f"none of {len(examples)} examples has teacher scores for its positive and for a negative; "
            "check that the score file uses this data set's query and document ids"
        )
    counts = {"examples": len(examples), "queries": len(queries), "documents": len(documents), "pairs": len(kept)}
    return TrainingData(
        queries=queries.encode(tokens.queries),
        documents=documents.encode(tokens.documents),
        pairs=np.array(kept, dtype=np.int32).reshape(-1, 2),
        positives=Rows.of(sorted(found) for found in answers),
        negatives={s: _pools(by_query, rows, documents.rows, answers) for s, by_query in negatives.items()},
        teacher=scores,
        teacher_negatives=scored,
        validation=validation,
        alignment=alignment,
        report=counts | ({} if scored is None else {"without_teacher_score": len(pairs) - len(kept)}),
    )


def build_validation_data(
    examples: Sequence[Example],
    tokens: Tokens,
    *,
    positives: Mapping[str, frozenset[str]],
    others: Iterable[Document],
    max_queries: int,
    max_documents: int,
    seed: int,
) -> ValidationData | None:
    """Build the data for early stopping: validation queries, their positives and a sample of other documents.

    :param others: all documents of the corpus, streamed once.
    :return: None if there are no examples.
    """
    if not examples:
        return None
    generator = np.random.default_rng(seed)
    ids = list(dict.fromkeys(e.query.id for e in examples))
    chosen = set(ids if len(ids) <= max_queries else (ids[i] for i in generator.permutation(len(ids))[:max_queries]))
    queries, documents = _Table(), _Table()
    kept = [e for e in examples if e.query.id in chosen]
    rows = {e.query.id: queries.add(e.query.id, e.query.text) for e in kept}
    documents.add_documents(example.positive for example in kept)
    further = (document for document in others if document.id not in documents.rows)
    documents.add_documents(_sample(further, max(0, max_documents - len(documents)), generator))
    relevant = Rows.of(sorted(row) for row in _answers(kept, positives, rows, documents.rows))
    return ValidationData(queries.encode(tokens.queries), documents.encode(tokens.documents), relevant)


class _Table:
    """Texts by row; texts that are equal when normalised share a row."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._by_text: dict[str, int] = {}
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, name: str, text: str) -> int:
        if name in self.rows:
            return self.rows[name]
        row = self._by_text.setdefault(text_hash(text), len(self._texts))
        if row == len(self._texts):
            self._texts.append(text)
        self.rows[name] = row
        return row

    def add_documents(self, documents: Iterable[Document]) -> None:
        for document in documents:
            self.add(document.id, document.searchable_text)

    def fetch(self, ids: Iterable[str], get_documents: GetDocuments) -> None:
        missing = (i for i in ids if i not in self.rows)
        while batch := list(itertools.islice(missing, _BATCH)):
            self.add_documents(document for document in get_documents(batch) if document is not None)

    def encode(self, tokens: Callable[[Sequence[str]], Sequence[Int32]]) -> Rows:
        batches = range(0, len(self._texts), _BATCH)
        return Rows.of(row for at in batches for row in tokens(self._texts[at : at + _BATCH]))


def _used(
    negatives: Mapping[NegativeSource, Mapping[str, Sequence[str]]],
    teacher: TeacherScores | None,
    queries: Mapping[str, int],
) -> dict[str, None]:
    # A dict instead of a set, for the same order in every run.
    mined = (i for by_query in negatives.values() for query in queries for i in by_query.get(query, ()))
    scored = (i for query in queries for i in (teacher or {}).get(query, ()))
    return dict.fromkeys(itertools.chain(mined, scored))


def _answers(
    examples: Iterable[Example],
    positives: Mapping[str, frozenset[str]],
    queries: Mapping[str, int],
    documents: Mapping[str, int],
) -> list[set[int]]:
    answers: dict[int, set[int]] = {row: set() for row in sorted(set(queries.values()))}
    for example in examples:
        answers[queries[example.query.id]].add(documents[example.positive.id])
    for query_id, row in queries.items():
        answers[row].update(documents[i] for i in positives.get(query_id, ()) if i in documents)
    return list(answers.values())


def _pools(
    by_query: Mapping[str, Sequence[str]],
    queries: Mapping[str, int],
    documents: Mapping[str, int],
    answers: Sequence[set[int]],
) -> Rows:
    pools: list[dict[int, None]] = [{} for _ in answers]
    for query_id, row in queries.items():
        rows = (documents[i] for i in by_query.get(query_id, ()) if i in documents)
        pools[row].update(dict.fromkeys(d for d in rows if d not in answers[row]))
    return Rows.of(list(pool) for pool in pools)


def _teacher(
    teacher: TeacherScores | None,
    queries: Mapping[str, int],
    documents: Mapping[str, int],
    answers: Sequence[set[int]],
) -> tuple[dict[tuple[int, int], float], Rows | None]:
    """Return (query row, document row) -> score, and per query the rows of scored documents that are no answers."""
    if teacher is None:
        return {}, None
    scores = {
        (row, documents[i]): score
        for query_id, row in queries.items()
        for i, score in teacher.get(query_id, {}).items()
        if i in documents
    }
    return scores, _pools({i: list(teacher.get(i, ())) for i in queries}, queries, documents, answers)


def _sample(documents: Iterable[Document], size: int, generator: np.random.Generator) -> list[Document]:
    """Draw a uniform sample from a stream (reservoir)."""
    kept: list[Document] = []
    for seen, document in enumerate(documents):
        if len(kept) < size:
            kept.append(document)
        elif size and (slot := int(generator.integers(seen + 1))) < size:
            kept[slot] = document
    return kept
