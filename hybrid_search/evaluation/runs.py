"""TREC run files, read by trec_eval and every tool of the field. Layer 4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hybrid_search.errors import DataError
from hybrid_search.storage import atomic_write_bytes
from hybrid_search.types import Ranking

__all__ = ["write_run"]


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


def _word(value: str) -> str:
    if value.split() != [value]:
        raise DataError(f"{value!r} can't be written to a TREC file: ids and tags must be one word without white space")
    return value
