"""Files that are a single JSON value: an array of objects, or a table as an object of columns."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

from hybrid_search.errors import DataError
from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.json_scanner import BrokenJson, Scanner
from hybrid_search.loaders.lines import LONGEST, Line
from hybrid_search.loaders.opening import Opened, as_data_error, open_file

__all__ = ["array_elements", "column_offsets", "column_rows", "is_by_columns"]

_SKIPPED_AT_ONCE = 1 << 20


def array_elements(opened: Opened, path: Path, reject: Reject) -> Iterator[Line]:
    """Stream the elements of a file that is one JSON array, each with the number of the line where it begins.

    :raises DataError: if the array is malformed: what follows can't be split into elements.
    """
    records, ended = 0, False
    scanner = Scanner(opened.stream)
    try:
        for number, raw in _elements(scanner, path):
            records += 1
            line, refusal = _decoded(path, number, raw)
            if refusal:
                reject(line.rejected("", refusal))
            else:
                yield line
        ended = True
    finally:
        count_records(reject, str(path), records, to_the_end=ended)


def _elements(scanner: Scanner, path: Path) -> Iterator[tuple[int, bytes | None]]:
    try:
        scanner.skip_bom()
        scanner.take(b"[")
        while scanner.peek() != b"]":
            number = scanner.line
            yield number, scanner.value()
            if scanner.peek() != b"]":
                scanner.take(b",")
        scanner.take(b"]")
        if scanner.peek():
            raise BrokenJson("more behind the end of the array")
    except BrokenJson as error:
        raise _broken(path, scanner, error) from error
    except Exception as error:  # decompression libraries have no common error class
        raise as_data_error(error, path, scanner.line) from error


def _decoded(path: Path, number: int, raw: bytes | None) -> tuple[Line, str]:
    if raw is None:
        return Line(str(path), number, 0, ""), f"{LONGEST >> 20} MiB or longer"
    try:
        return Line(str(path), number, 0, raw.decode()), ""
    except UnicodeDecodeError as error:
        return Line(str(path), number, 0, raw.decode(errors="backslashreplace")), f"not UTF-8: {error.reason}"


def _broken(path: Path, scanner: Scanner, error: BrokenJson) -> DataError:
    return DataError(f"{path}: the JSON is broken at line {scanner.line}: {error}; what is before it was read")


def is_by_columns(head: bytes, columns: Sequence[str], inner: Sequence[str]) -> bool:
    """Return whether a file begins as an object of columns, each an object of row -> value.

    :param columns: possible names of the first column.
    :param inner: first names of objects nested in a row: one of these means that the file begins with a row.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    found = re.match(r'\s*\{\s*"(\w+)"\s*:\s*\{\s*"([^"]*)"', text)
    return found is not None and found[1] in columns and found[2] not in inner


def column_offsets(path: Path) -> dict[str, int]:
    """Return the offset of each column in bytes of the unpacked file.

    :return: empty if more follows after the object: then the file is JSON lines.
    :raises DataError: if the object is malformed.
    """
    with open_file(path) as opened:
        scanner = Scanner(opened.stream)
        try:
            scanner.skip_bom()
            offsets = dict(_columns(scanner))
            scanner.take(b"}")
            return {} if scanner.peek() else offsets
        except BrokenJson as error:
            raise _broken(path, scanner, error) from error
        except Exception as error:
            raise as_data_error(error, path, scanner.line) from error


def _columns(scanner: Scanner) -> Iterator[tuple[str, int]]:
    scanner.take(b"{")
    while scanner.peek() != b"}":
        name = scanner.value() or b""
        scanner.take(b":")
        scanner.peek()
        yield name.decode(errors="replace").strip('"'), scanner.offset
        scanner.value(keep=False)
        if scanner.peek() != b"}":
            scanner.take(b",")


def column_rows(path: Path, offsets: Mapping[str, int]) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """Read several columns in parallel; yields each row's number (from 1) and its cells, None for one that is too long.

    The file is opened once for each column, so that no column has to be kept in memory.

    :raises DataError: if the columns don't list the same rows in the same order, or one is malformed.
    """
    with ExitStack() as stack:
        columns = {}
        for name, offset in offsets.items():
            opened = stack.enter_context(open_file(path))
            _go_to(opened, offset)
            columns[name] = stack.enter_context(closing(_cells(opened.stream, path)))
        number = 0
        while True:
            number += 1
            cells = {name: next(column, None) for name, column in columns.items()}
            keys = {cell[0] if cell else None for cell in cells.values()}
            if len(keys) > 1:
                raise DataError(
                    f"{path}: the columns {', '.join(cells)} don't list the same rows in the same order "
                    f"(row {number}); write the file as JSON lines, an object a row"
                )
            if keys == {None}:
                return
            yield number, {name: cell[1] for name, cell in cells.items() if cell}


def _cells(stream: IO[bytes], path: Path) -> Generator[tuple[str, bytes | None], None, None]:
    scanner = Scanner(stream)
    try:
        scanner.take(b"{")
        while scanner.peek() != b"}":
            key = scanner.value() or b""
            scanner.take(b":")
            yield key.decode(errors="replace"), scanner.value()
            if scanner.peek() != b"}":
                scanner.take(b",")
    except BrokenJson as error:
        raise _broken(path, scanner, error) from error
    except Exception as error:
        raise as_data_error(error, path, scanner.line) from error


def _go_to(opened: Opened, offset: int) -> None:
    if opened.stream.seekable():
        opened.stream.seek(offset)
        return
    while offset > 0:
        read = opened.stream.read(min(offset, _SKIPPED_AT_ONCE))
        if not read:
            return
        offset -= len(read)
