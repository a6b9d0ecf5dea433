"""Reads the records of a data file in any supported format: JSON lines, a JSON array, CSV, parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybrid_search.loaders.formats import json_objects
from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.json_containers import array_elements
from hybrid_search.loaders.kinds import is_json_array, is_parquet
from hybrid_search.loaders.lines import Line, lines_of
from hybrid_search.loaders.opening import Opened, open_file
from hybrid_search.loaders.tables import csv_records, is_csv, read_parquet

__all__ = ["KINDS", "objects_of", "read_objects"]

KINDS = (".jsonl", ".json", ".csv", ".parquet")
"""Suffixes of such files. The format is recognised by the first bytes; only CSV by its name."""


def read_objects(path: Path, reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Stream the records of a file, compressed or not. Invalid records are rejected, and reading continues.

    :raises DataError: if the file can't be read to its end.
    :raises MissingExtra: if it needs a package that is not installed.
    """
    with open_file(path, tables=True) as opened:
        yield from objects_of(opened, path, reject)


def objects_of(opened: Opened, path: Path, reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Stream the records of an open file; see :func:`read_objects`."""
    if is_parquet(opened.head):
        yield from read_parquet(path, reject)
    elif is_csv(path):
        yield from csv_records(opened, path, reject)
    elif is_json_array(opened.head):
        yield from json_objects(array_elements(opened, path, reject), reject)
    else:
        yield from json_objects(lines_of(opened, path, reject), reject)
