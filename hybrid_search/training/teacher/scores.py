"""A teacher's scores of queries and documents, from a file or its vectors, and false negatives detected by them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import DataError
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_batches
from hybrid_search.training.data.pairs import GetDocuments
from hybrid_search.types import Example, Rejection

__all__ = ["Case", "Judge", "TeacherJudge", "TeacherScores", "read_teacher_scores", "scores_of"]


TeacherScores = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score, in the teacher's scale; higher is more relevant."""


class _Line(msgspec.Struct):
    query_id: str
    document_id: str
    score: float


def read_teacher_scores(path: Path, reject: Callable[[Rejection], None]) -> TeacherScores:
    """Read JSON lines ``{"query_id", "document_id", "score"}`` or tab-separated ``query id, document id, score``.

    Invalid lines are passed to ``reject``; if a pair occurs twice, the last score counts.

    :raises DataError: if no line is valid.
    :raises StorageError: if the file can't be read.
    """
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    with disk_errors(f"reading {path}"), path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            line = text.rstrip("\n")
            if not line.strip():
                continue
            try:
                record = _parse(line)
            except (msgspec.MsgspecError, RecursionError, ValueError) as error:
                reject(Rejection(str(path), number, "", str(error), line))
                continue
            scores[record.query_id][record.document_id] = record.score
    if not scores:
        raise DataError(
            f'{path}: no teacher score in it; a line is {{"query_id": …, "document_id": …, "score": …}} '
            "or query id, document id and score between tabs"
        )
    return dict(scores)


def _parse(line: str) -> _Line:
    if line.lstrip().startswith("{"):
        record = msgspec.json.decode(line, type=_Line)
    else:
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(f"{len(fields)} fields between tabs, wanted 3: query id, document id, score")
        record = _Line(fields[0], fields[1], float(fields[2]))
    if not math.isfinite(record.score):
        raise ValueError(f"score is {record.score}; it must be a finite number")
    return record


VectorsOf = Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.bool_]]]
"""Returns vectors (n, d) of unit length for texts, and (n,) whether each has one; such as a vector store's ``get``."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query, its known answers, and the candidates mined for it, as texts."""

    query: str
    answers: Sequence[str]
    candidates: Sequence[str]


Judge = Callable[[Sequence[Case]], Sequence[Sequence[bool]]]
"""Returns for each case which of its candidates are false negatives."""


class TeacherJudge:
    """Takes a candidate as a false negative if its cosine is at least a given share of the best answer's.

    This is the rule "percentage of the positive's score" of Moreira et al. 2024 (NV-Retriever), with a teacher instead
    of the model that mines. Nothing is dropped from a case whose query or answers have no vector, or whose best answer
    has a cosine of 0 or below; nor are candidates without a vector.
    """

    def __init__(self, vectors_of: VectorsOf, share: float) -> None:
        self._vectors_of = vectors_of
        self._share = share

    def __call__(self, cases: Sequence[Case]) -> list[list[bool]]:
        """Judge the cases of a batch, with a single look-up of vectors."""
        texts = dict.fromkeys(t for case in cases for t in (case.query, *case.answers, *case.candidates))
        rows = {text: row for row, text in enumerate(texts)}
        vectors, known = self._vectors_of(list(texts))
        return [self._judged(case, rows, vectors, known) for case in cases]

    def _judged(
        self, case: Case, rows: dict[str, int], vectors: NDArray[np.float32], known: NDArray[np.bool_]
    ) -> list[bool]:
        query, answers = rows[case.query], [rows[text] for text in case.answers if known[rows[text]]]
        if not known[query] or not answers:
            return [False] * len(case.candidates)
        best = float((vectors[answers] @ vectors[query]).max())
        candidates = [rows[text] for text in case.candidates]
        near = vectors[candidates] @ vectors[query] >= self._share * best
        return [bool(best > 0 and known[row] and is_near) for row, is_near in zip(candidates, near, strict=True)]


_BATCH = 1_024


def scores_of(
    vectors_of: VectorsOf,
    examples: Sequence[Example],
    candidates: Mapping[str, Sequence[str]],
    get_documents: GetDocuments,
    *,
    temperature: float,
) -> TeacherScores:
    """Score each query's answers and candidates: the teacher's cosine over the temperature of the student's scores.

    :param candidates: query id -> document ids.
    :return: query id -> document id -> score; without texts that have no vector.
    """
    queries = {example.query.id: example.query.text for example in examples}
    answers: dict[str, dict[str, str]] = {query: {} for query in queries}
    for example in examples:
        answers[example.query.id][example.positive.id] = example.positive.searchable_text
    scores: dict[str, dict[str, float]] = {}
    for batch in in_batches(queries, _BATCH):
        texts = _texts(candidates, batch, get_documents)
        documents = {
            query: answers[query] | {i: texts[i] for i in candidates.get(query, ()) if i in texts} for query in batch
        }
        distinct = dict.fromkeys(
            [*(queries[query] for query in batch), *(t for own in documents.values() for t in own.values())]
        )
        rows = {text: row for row, text in enumerate(distinct)}
        vectors, known = vectors_of(list(distinct))
        for query in batch:
            row = rows[queries[query]]
            own = {i: rows[text] for i, text in documents[query].items() if known[row] and known[rows[text]]}
            cosines = vectors[list(own.values())] @ vectors[row]
            scores[query] = dict(zip(own, (cosines / temperature).tolist(), strict=True))
    return scores


def _texts(
    candidates: Mapping[str, Sequence[str]], queries: Iterable[str], get_documents: GetDocuments
) -> dict[str, str]:
    ids = list(dict.fromkeys(i for query in queries for i in candidates.get(query, ())))
    found = zip(ids, get_documents(ids), strict=True)
    return {i: document.searchable_text for i, document in found if document is not None}
