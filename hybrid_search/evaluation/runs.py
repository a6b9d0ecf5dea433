"""TREC run and qrels files, read by trec_eval and every tool of the field. Layer 4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hybrid_search.errors import DataError
from hybrid_search.storage import atomic_write_bytes, disk_errors
from hybrid_search.types import Judgement, Ranking

__all__ = ["read_run", "write_qrels", "write_run"]

_RUN_COLUMNS = 6


def write_run(path: Path, rankings: Mapping[str, Ranking], *, tag: str) -> None:
    """Write ``query Q0 document rank score tag`` lines, queries in the order given, ranks from 1.

    Scores are written in full. trec_eval sorts equal scores by its own rule, not by the rank column.

    :param tag: names the system; no white space.
    :raises DataError: if an id or the tag is empty or holds white space, which the format can't express.
    :raises StorageError: if the file can't be written; an old one is then unchanged.
    """
    lines = [
        f"{_word(query)} Q0 {_word(id)} {rank} {score!r} {_word(tag)}\n"
        for query, ranking in rankings.items()
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=1)
    ]
    atomic_write_bytes(path, "".join(lines).encode())


def read_run(path: Path) -> dict[str, Ranking]:
    """Read a run file; each query's documents in the order of their ranks.

    :raises DataError: on a line that does not have six columns or numbers where they belong, with its number.
    :raises StorageError: if the file can't be read.
    """
    hits: dict[str, list[tuple[int, str, float]]] = {}
    with disk_errors(f"reading {path}"), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            columns = line.split()
            try:
                if len(columns) != _RUN_COLUMNS:
                    raise ValueError(f"{len(columns)} columns instead of {_RUN_COLUMNS}")
                hits.setdefault(columns[0], []).append((int(columns[3]), columns[2], float(columns[4])))
            except ValueError as error:
                raise DataError(f"{path}, line {number}: not a line of a TREC run: {error}") from error
    return {query: _ranking(of_query) for query, of_query in hits.items()}


def write_qrels(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write ``query 0 document grade`` lines, in the order given.

    :raises DataError: if an id is empty or holds white space, which the format can't express.
    :raises StorageError: if the file can't be written; an old one is then unchanged.
    """
    lines = [f"{_word(j.query_id)} 0 {_word(j.document_id)} {j.grade}\n" for j in judgements]
    atomic_write_bytes(path, "".join(lines).encode())


def _ranking(hits: list[tuple[int, str, float]]) -> Ranking:
    hits.sort(key=lambda hit: hit[0])
    return Ranking(tuple(id for _, id, _ in hits), tuple(score for _, _, score in hits))


def _word(value: str) -> str:
    if value.split() != [value]:
        raise DataError(f"{value!r} can't be written to a TREC file: ids and tags must be one word without white space")
    return value
