"""Streams the lines of a text file. A line that can't be decoded is rejected, and reading continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.opening import Opened, as_data_error, open_file
from hybrid_search.types import Rejection

__all__ = ["LONGEST", "TOO_LONG", "Line", "lines_of", "read_lines", "shown"]

LONGEST = 64 << 20
"""Most bytes of one record. Longer ones are rejected, so that a decompression bomb can't exhaust the memory."""

TOO_LONG = f"{LONGEST >> 20} MiB or longer; the record shows its beginning"

_SHOWN = 1_000
_SKIPPED_AT_ONCE = 1 << 20


class Line(NamedTuple):
    """One line of a text file, or one record with the number of the line where it begins.

    :ivar source: the file.
    :ivar number: 1-based.
    :ivar offset: of the line's beginning, in bytes of the unpacked file.
    :ivar text: the line without line ending and byte order mark.
    """

    source: str
    number: int
    offset: int
    text: str

    def rejected(self, field: str, reason: str) -> Rejection:
        """Make the rejection of this line; ``field`` is empty if the whole line is at fault."""
        return Rejection(source=self.source, line=self.number, field=field, reason=reason, record=self.text)


def read_lines(path: Path, reject: Reject, is_heading: Callable[[str], bool] = lambda text: False) -> Iterator[Line]:
    r"""Stream the lines of a text file, compressed or not, with LF or CRLF endings; blank lines are skipped.

    A line that is not UTF-8 is rejected (its invalid bytes are written as ``\xNN`` in the record); a file in UTF-16 or
    UTF-32 with a byte order mark is decoded accordingly.

    :param is_heading: called with the first line; if it returns true, the line is a heading and skipped.
    :raises DataError: if the file can't be read to its end.
    """
    with open_file(path) as opened:
        yield from lines_of(opened, path, reject, is_heading)


def lines_of(
    opened: Opened,
    path: Path,
    reject: Reject,
    is_heading: Callable[[str], bool] = lambda text: False,
    *,
    blank: bool = False,
) -> Iterator[Line]:
    """Stream the lines of an open file; see :func:`read_lines`.

    :param blank: yield blank lines too.
    """
    records, ended = 0, False
    try:
        for number, start, raw in _raw_lines(opened, path):
            body = raw.rstrip(b"\r\n")
            if number == 1:
                body = body.removeprefix(b"\xef\xbb\xbf")
            line, refusal = _decoded(body, str(path), number, start, opened.encoding)
            if (not blank and not line.text.strip()) or (number == 1 and is_heading(line.text)):
                continue
            records += 1
            if refusal:
                reject(line.rejected("", refusal))
            else:
                yield line
        ended = True
    finally:
        count_records(reject, str(path), records, to_the_end=ended)


def _decoded(body: bytes, source: str, number: int, start: int, encoding: str) -> tuple[Line, str]:
    """Decode a line; returns it with the reason for rejecting it, empty if it is valid."""
    if len(body) >= LONGEST:
        return Line(source, number, start, shown(body)), TOO_LONG
    try:
        return Line(source, number, start, body.decode()), ""
    except UnicodeDecodeError as error:
        wide = f" (nor the {encoding.upper()} that its byte order mark tells)" if encoding else ""
        return Line(source, number, start, body.decode(errors="backslashreplace")), f"not UTF-8{wide}: {error.reason}"


def shown(record: bytes) -> str:
    """Return the beginning of a record that is too long, for its rejection."""
    return record[:_SHOWN].decode(errors="backslashreplace")


def _raw_lines(opened: Opened, path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, offset, bytes) of each line; only the first :data:`LONGEST` bytes of one that is too long."""
    number = offset = 0
    stream = opened.stream
    while True:
        try:
            raw = stream.readline(LONGEST)
            size = len(raw)
            while len(raw) == LONGEST and not raw.endswith(b"\n") and (rest := stream.readline(_SKIPPED_AT_ONCE)):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
        except Exception as error:  # decompression libraries have no common error class
            raise as_data_error(error, path, number) from error
        if not raw:
            return
        number += 1
        yield number, offset, raw
        offset += size
