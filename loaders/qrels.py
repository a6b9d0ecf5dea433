"""Reads judgements in the usual formats: TREC's four columns, three columns, with a heading as in BEIR, CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.lines import Line, read_lines
from hybrid_search.types import Judgement

__all__ = ["read_qrels"]

_QUERY = frozenset({"query-id", "query_id", "queryid", "qid", "query", "topic", "topic_id"})
_DOCUMENT = frozenset(
    {"corpus-id", "corpus_id", "document-id", "document_id", "doc-id", "doc_id", "docid", "docno", "document", "doc",
     "pid", "passage_id", "passage-id"}
)  # fmt: skip
_GRADE = frozenset({"score", "grade", "relevance", "rel", "label", "judgement", "judgment", "relevancy"})

_WHOLE = re.compile(r"([+-]?\d{1,9})(?:\.0*)?", re.ASCII)
_TRUTH = {"true": 1, "false": 0}
_ITERATIONS = frozenset({"0", "Q0", "q0"})
_EXPECTED = "expected 3 columns (query, document, grade) or TREC's 4 (query, iteration, document, grade)"
_RUN = 6


class _Columns(NamedTuple):
    """Column numbers of the three values in a row; ``width`` is the number of columns."""

    query: int
    document: int
    grade: int
    width: int = 0


def read_qrels(path: Path, reject: Reject) -> Iterator[Judgement]:
    """Stream judgements: TREC's (query, iteration, document, grade), or query, document, grade, or as a heading says.

    Cells are separated by tabs if the line contains any, by commas in a file with ``.csv`` in its name, otherwise by
    white space; they may be quoted. A grade is a whole number, also written as ``+1``, ``1.0`` or ``true``.

    :raises DataError: as :func:`~hybrid_search.loaders.lines.read_lines`.
    """
    commas = ".csv" in path.suffixes
    named: list[_Columns] = []

    def is_heading(text: str) -> bool:
        columns = _named(_cells(text, commas=commas))
        named.extend([columns] if columns else [])
        return columns is not None

    for line in read_lines(path, reject, is_heading):
        judgement = _judgement(line, _cells(line.text, commas=commas), named[0] if named else None, reject)
        if judgement:
            yield judgement


def _cells(text: str, *, commas: bool) -> list[str]:
    if "\t" in text:
        cells = text.split("\t")
    elif commas:
        try:
            cells = next(csv.reader([text]), [])
        except csv.Error:  # a cell of more than 128 KiB
            cells = [text]
    else:
        cells = text.split()
    return [_unquoted(cell) for cell in cells]


def _unquoted(cell: str) -> str:
    bare = cell.strip()
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'" else cell


def _named(cells: list[str]) -> _Columns | None:
    """Parse a heading; None if the line is not one."""
    names = [cell.strip().lower() for cell in cells]
    query, document, grade = (
        next((number for number, name in enumerate(names) if name in known), None)
        for known in (_QUERY, _DOCUMENT, _GRADE)
    )
    if query is None or document is None or grade is None:
        return None
    return _Columns(query, document, grade, len(cells))


def _judgement(line: Line, cells: list[str], named: _Columns | None, reject: Reject) -> Judgement | None:
    columns = named or _Columns(0, -2, -1)
    if named:
        if len(cells) > named.width and not any(cell.strip() for cell in cells[named.width :]):
            cells = cells[: named.width]
        if len(cells) != named.width:
            reject(line.rejected("", f"the heading names {named.width} columns, found {len(cells)}"))
            return None
    else:
        cells = _without_trailing(cells)
        if len(cells) not in (3, 4):
            reject(line.rejected("", f"{_EXPECTED}, found {len(cells)}{_explained(cells)}"))
            return None
    query_id, document_id, text = cells[columns.query], cells[columns.document], cells[columns.grade]
    grade = _grade(text)
    if not query_id.strip() or not document_id.strip():
        reject(line.rejected("document" if query_id.strip() else "query", "blank id"))
    elif grade is None:
        reject(line.rejected("grade", f"not a whole number: {text[:40]!r}"))
    else:
        return Judgement(query_id, document_id, grade)
    return None


def _without_trailing(cells: list[str]) -> list[str]:
    """Drop empty cells at the end of a line, but not an empty grade in TREC's four columns."""
    while len(cells) > 3 and not cells[-1].strip():
        if len(cells) == 4 and cells[1] in _ITERATIONS:
            break
        cells = cells[:-1]
    return cells


def _explained(cells: list[str]) -> str:
    if len(cells) == _RUN:
        return ": these are the columns of a run (query, Q0, document, rank, score, tag), not of judgements"
    if len(cells) > 4:
        return "; leave the others out, or name the columns in a first line, such as query-id, corpus-id, score"
    return ""


def _grade(text: str) -> int | None:
    # int() would also accept underscores and digits of other scripts.
    text = text.strip()
    whole = _WHOLE.fullmatch(text)
    return int(whole[1]) if whole else _TRUTH.get(text.lower())
