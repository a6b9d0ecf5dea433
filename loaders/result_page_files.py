"""Finds the files with rows of ``microsoft/ms_marco`` for each split, and reads them in any of their formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import DataError
from hybrid_search.loaders.folder import PACKED, Folder
from hybrid_search.loaders.formats import Line, not_json
from hybrid_search.loaders.hub import SPLITS
from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.json_containers import column_offsets, column_rows, is_by_columns
from hybrid_search.loaders.lines import LONGEST
from hybrid_search.loaders.objects import KINDS, objects_of
from hybrid_search.loaders.opening import Opened, is_stream, open_file
from hybrid_search.loaders.result_page import PASSAGE_FIELDS

__all__ = ["read_rows", "split_files", "split_of"]

_COLUMNS = ("query_id", "query", "passages", "answers")
_ALL_COLUMNS = (*_COLUMNS, "query_type", "wellFormedAnswers")
_OFFICIAL = {"train": "train", "dev": "validation", "validation": "validation", "test": "test", "eval": "test"}
"""Name of a split in the official files -> name on the hub."""

_NAME = re.compile(
    r"(train|dev|validation|test|eval)(?:_public)?_(v[\d.]*\d)(?:_public)?\.json"
    f"(?:{'|'.join(map(re.escape, PACKED))})"
)


def split_of(path: Path) -> str:
    """Return the split of a single file by its name; ``train`` if the name does not begin with a split's."""
    found = re.match(r"(train|dev|validation|test|eval)(?![a-z])", path.name)
    return _OFFICIAL[found[1]] if found else "train"


def split_files(folder: Folder) -> dict[str, dict[str, list[Path]]]:
    """Return configuration -> split -> files of a folder; the configuration is "" for files that don't name one."""
    found = {"": _named(folder)}
    for file in sorted(folder.path.iterdir()):
        official = _NAME.fullmatch(file.name) if file.is_file() else None
        if official and not found[""]:
            found.setdefault(official[2], {}).setdefault(_OFFICIAL[official[1]], []).append(file)
        elif file.is_dir() and (shards := _shards(file)):
            found.setdefault("" if file.name == "data" else file.name, {}).update(shards)
    return {config: splits for config, splits in found.items() if splits}


def _named(folder: Folder) -> dict[str, list[Path]]:
    files = {split: folder.find(*(f"{split}{kind}" for kind in KINDS)) for split in SPLITS}
    found = {split: [file] for split, file in files.items() if file}
    return found or {split: shards for split in SPLITS if (shards := folder.shards(split, ".parquet"))}


def _shards(path: Path) -> dict[str, list[Path]]:
    inside = Folder(path, "", "")
    return {split: shards for split in SPLITS if (shards := inside.shards(split, ".parquet"))}


def read_rows(paths: Sequence[Path], reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Stream the rows of files: JSON lines, a JSON array, parquet, or an object of columns, as v2.1 is published.

    :raises DataError: if a file can't be read to its end.
    """
    for path in paths:
        with open_file(path, tables=True) as opened:
            offsets = _offsets(opened, path)
            if not offsets:
                yield from objects_of(opened, path, reject)
        if offsets:
            yield from _rows_of_columns(path, offsets, reject)


def _offsets(opened: Opened, path: Path) -> dict[str, int]:
    """Return the offset of each column of an object of columns; empty for a file of rows."""
    if not is_by_columns(opened.head, _ALL_COLUMNS, PASSAGE_FIELDS):
        return {}
    if is_stream(path):
        raise DataError(f"{path}: an object by columns can't be read from a stream; write it to a file first")
    return column_offsets(path)


def _rows_of_columns(path: Path, offsets: Mapping[str, int], reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    number, ended = 0, False
    try:
        columns = {name: offsets[name] for name in _COLUMNS if name in offsets}
        for number, cells in column_rows(path, columns):
            line = Line(str(path), number, 0, _written(cells))
            row = _row(line, cells, reject)
            if row is not None:
                yield line, row
        ended = True
    finally:
        count_records(reject, str(path), number, to_the_end=ended)


def _row(line: Line, cells: Mapping[str, bytes | None], reject: Reject) -> dict[str, Any] | None:
    row = {}
    for name, raw in cells.items():
        if raw is None:
            reject(line.rejected(name, f"{LONGEST >> 20} MiB or longer"))
            return None
        try:
            row[name] = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            reject(line.rejected(name, not_json(error, raw)))
            return None
    return row


def _written(cells: Mapping[str, bytes | None]) -> str:
    """Join a row's cells into the text of a JSON object."""
    texts = {name: (raw or b"null").decode(errors="backslashreplace") for name, raw in cells.items()}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items()) + "}"
