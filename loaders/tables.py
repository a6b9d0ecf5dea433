"""Reads tables as records: parquet, and CSV with a heading."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import DataError, MissingExtra
from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.lines import LONGEST, Line, lines_of
from hybrid_search.loaders.opening import Opened, is_stream

__all__ = ["csv_records", "is_csv", "read_parquet"]

Record = dict[str, Any]

_ROWS = 256
_ROW_GROUP = 4 << 30
"""Most uncompressed bytes of one column in a row group."""


def is_csv(path: Path) -> bool:
    """Return whether a file is CSV by its name, as it can't be recognised by its first bytes."""
    return ".csv" in path.suffixes


def csv_records(opened: Opened, path: Path, reject: Reject) -> Iterator[tuple[Line, Record]]:
    """Stream the rows of a CSV file as records, named by its heading; all values are strings, empty cells left out.

    The separator is a comma, semicolon or tab, whichever is most frequent in the first line. Quoted cells may contain
    line breaks.

    :raises DataError: if the first line names no columns, or as :func:`~hybrid_search.loaders.lines.read_lines`.
    """
    lines = lines_of(opened, path, lambda rejection: reject(rejection), blank=True)  # rows are counted, not lines
    heading = next(lines, None)
    separator = max(",;\t", key=heading.text.count) if heading else ","
    names = [name.strip() for name in _first_row(heading.text if heading else "", separator)]
    if heading and (not all(names) or len(set(names)) != len(names)):
        raise DataError(f"{path}: the first line must name the columns, each once; it is {heading.text[:80]!r}")
    records, ended = 0, False
    try:
        for line, cells, refusal in _rows(lines, separator):
            records += 1
            if refusal:
                reject(line.rejected("", f"not CSV: {refusal}"))
            elif len(cells) != len(names):
                reject(line.rejected("", f"the heading names {len(names)} columns, found {len(cells)}"))
            else:
                yield line, {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        ended = True
    finally:
        count_records(reject, str(path), records, to_the_end=ended)


def _first_row(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return [""]


def _rows(lines: Iterator[Line], separator: str) -> Iterator[tuple[Line, list[str], str]]:
    """Yield each row: its lines as one, its cells, and why it could not be parsed (empty if it was)."""
    # The limit (128 KiB) is global to the process; texts may be longer, and raising it harms no other user.
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    pulled: list[Line] = []

    def pull() -> Iterator[str]:
        for line in lines:
            pulled.append(line)
            yield line.text + "\n"

    reader = csv.reader(pull(), delimiter=separator, strict=True)
    while True:
        pulled.clear()
        cells, refusal = list[str](), ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            refusal = str(error)
        if cells or refusal:
            first = pulled[0]
            yield first._replace(text="\n".join(line.text for line in pulled)), cells, refusal


def read_parquet(path: Path, reject: Reject, columns: list[str] | None = None) -> Iterator[tuple[Line, Record]]:
    """Stream the rows of a parquet file; a row's line is its number, from 1.

    :param columns: names of the columns to read, if they exist; None for all.
    :raises DataError: if it is damaged, is a stream, or has row groups that unpack to more than 4 GiB.
    :raises MissingExtra: if ``pyarrow`` is not installed.
    """
    if is_stream(path):
        raise DataError(f"{path}: parquet can't be read from a stream; give the file's path")
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "train") from error
    number, ended = 0, False
    try:
        with parquet.ParquetFile(path) as file:
            _check_sizes(file, path)
            known = [name for name in file.schema_arrow.names if columns is None or name in columns]
            for batch in file.iter_batches(_ROWS, columns=known):
                for row in range(batch.num_rows):
                    number += 1
                    # Row by row: a text repeated in many rows is stored once in the batch, but not as Python objects.
                    record = {name: batch.column(name)[row].as_py() for name in known}
                    text = msgspec.json.encode(record, enc_hook=str).decode(errors="backslashreplace")
                    yield Line(str(path), number, 0, text), record
        ended = True
    except (DataError, GeneratorExit):
        raise
    except Exception as error:  # pyarrow's own errors have no common root
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: the parquet file can't be read after row {number}: {reason}") from error
    finally:
        count_records(reject, str(path), number, to_the_end=ended)


def _check_sizes(file: Any, path: Path) -> None:
    for group in range(file.metadata.num_row_groups):
        of_group = file.metadata.row_group(group)
        size = max((of_group.column(n).total_uncompressed_size for n in range(of_group.num_columns)), default=0)
        if size > _ROW_GROUP:
            raise DataError(
                f"{path}: row group {group} unpacks to {size >> 30} GiB, which memory may have no room for; write the "
                f"file with smaller row groups"
            )
