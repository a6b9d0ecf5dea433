"""TREC run files, read by trec_eval and every tool of the field. Layer 4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from hybrid_search.errors import UsageError
from hybrid_search.storage import atomic_write_bytes
from hybrid_search.types import Ranking

__all__ = ["write_run"]

_PARTS = re.compile(r"[\s%]")


def write_run(path: Path, rankings: Mapping[str, Ranking], *, tag: str) -> int:
    """Write ``query Q0 document rank score tag`` lines, queries in the order given, ranks from 1.

    Scores are written in full precision. trec_eval sorts equal scores by its own rule, not by the rank column. As white
    space separates the columns, white space and per cent signs in ids are percent-encoded (``%20``);
    ``urllib.parse.unquote`` decodes them.

    :param tag: name of the system; one word.
    :return: how many different ids were percent-encoded.
    :raises UsageError: if the tag is empty or holds white space.
    :raises StorageError: if the file can't be written; an old one is then unchanged.
    """
    if tag.split() != [tag]:
        raise UsageError(f"tag is {tag!r}; it must be one word")
    lines = [
        f"{_column(query)} Q0 {_column(id)} {rank} {score!r} {tag}\n"
        for query, ranking in rankings.items()
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=1)
    ]
    atomic_write_bytes(path, "".join(lines).encode("utf-8", "surrogatepass"))
    ids = {*rankings, *(id for ranking in rankings.values() for id in ranking.ids)}
    return sum(_column(id) != id for id in ids)


def _column(id: str) -> str:
    return _PARTS.sub(lambda found: quote(found[0]), id)
