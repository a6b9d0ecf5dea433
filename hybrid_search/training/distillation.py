"""Scores of a teacher (a cross-encoder, say) for query-document pairs, read from a file. Layer 3."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from hybrid_search.errors import DataError
from hybrid_search.storage import disk_errors
from hybrid_search.types import Rejection

__all__ = ["TeacherScores", "read_teacher_scores"]

TeacherScores = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score, in the teacher's own scale; higher is more relevant."""


class _Line(msgspec.Struct):
    query_id: str
    document_id: str
    score: float


def read_teacher_scores(path: Path, reject: Callable[[Rejection], None]) -> TeacherScores:
    """Read JSON lines ``{"query_id", "document_id", "score"}`` or tab-separated ``query id, document id, score``.

    A bad line goes to ``reject`` and the rest goes on; of a pair that stands twice the last score counts.

    :raises DataError: if no line could be read.
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
