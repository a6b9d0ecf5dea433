"""Rows of tab-separated text and objects of JSON lines.

Everything is streamed. A line that can't be parsed is passed to ``reject`` with file, line and field, and reading
continues; only what makes the rest of a file unreadable (a damaged compressed stream, a disk error) raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.lines import Line, read_lines
from hybrid_search.types import is_unicode

__all__ = ["Line", "Reject", "json_objects", "read_lines", "read_tsv"]

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_COLUMN_NAMES = frozenset(
    {"id", "_id", "pid", "qid", "docid", "doc_id", "docno", "passage_id", "query_id", "query-id", "corpus-id"}
    | {"text", "passage", "query", "contents", "body", "title", "positive", "negative"}
)
"""Names that mark a first line as a heading."""


def read_tsv(path: Path, columns: Sequence[str], reject: Reject) -> Iterator[tuple[Line, list[str]]]:
    """Stream the rows of a tab-separated file without quoting; a heading is skipped.

    :param columns: names of the expected columns, for the message; a row with more or fewer cells is rejected.
    :raises DataError: as :func:`read_lines`.
    """
    for line in read_lines(path, reject, is_heading):
        cells = line.text.split("\t")
        if len(cells) == len(columns):
            yield line, cells
        else:
            expected = f"{len(columns)} tab-separated columns ({', '.join(columns)})"
            reject(line.rejected("", f"expected {expected}, found {len(cells)}"))


def is_heading(text: str) -> bool:
    """Return whether a tab-separated line is a heading: two or more cells, all different and usual column names."""
    names = [cell.strip().lower() for cell in text.split("\t")]
    return len(names) > 1 and len(set(names)) == len(names) and _COLUMN_NAMES.issuperset(names)


def not_json(error: Exception, text: str | bytes = "") -> str:
    """Say why a text is no JSON, without the place in msgspec's notation for types.

    :param text: what was read, for faults that msgspec takes for others.
    """
    if _has_lone_surrogate(text):
        return "no valid Unicode: a lone surrogate (half of a character)"
    said = re.sub(r" - at `\$.*`$", "", str(error))
    return "not JSON: a number out of range" if said == "Number out of range" else f"not JSON: {said}"


def _has_lone_surrogate(text: str | bytes) -> bool:
    r"""Return whether a text is JSON but for half of a character, as in ``"\ud800"``: the standard library reads it."""
    if not _SURROGATE.search(text if isinstance(text, str) else text.decode(errors="replace")):
        return False
    try:
        return not is_unicode(json.dumps(json.loads(text), ensure_ascii=False))
    except (ValueError, RecursionError):
        return False


def json_objects(texts: Iterable[Line], reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Parse each line as a JSON object; lines that are none are rejected."""
    decoder = msgspec.json.Decoder()
    for line in texts:
        try:
            record = decoder.decode(line.text)
        except (msgspec.MsgspecError, RecursionError) as error:
            reject(line.rejected("", not_json(error, line.text)))
            continue
        if isinstance(record, dict):
            yield line, record
        else:
            reject(line.rejected("", "not a JSON object"))
