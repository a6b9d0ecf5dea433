"""The lines of a text file, one at a time. A line that can't be taken is refused, and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hybrid_search.types import Rejection
from loaders.intake import Reject, count_records
from loaders.opening import Opened, as_data_error, open_file

__all__ = ["LONGEST", "TOO_LONG", "Line", "lines_of", "read_lines", "shown"]

LONGEST = 64 << 20
"""Bytes of one record: more is refused, so that a file that unpacks without end does not take the memory."""

TOO_LONG = f"{LONGEST >> 20} MiB or longer; the record shows its beginning"

_SHOWN = 1_000
_SKIPPED_AT_ONCE = 1 << 20


class Line(NamedTuple):
    """One line of a text file, or one record that is named by the line where it begins.

    :ivar source: the file.
    :ivar number: 1-based.
    :ivar offset: where the line begins, in bytes of the unpacked file.
    :ivar text: the line without its ending (and without a byte order mark).
    """

    source: str
    number: int
    offset: int
    text: str

    def rejected(self, field: str, reason: str) -> Rejection:
        """Describe why this line was refused; ``field`` is empty when the whole line is at fault."""
        return Rejection(source=self.source, line=self.number, field=field, reason=reason, record=self.text)


def read_lines(path: Path, reject: Reject, is_heading: Callable[[str], bool] = lambda text: False) -> Iterator[Line]:
    r"""Stream the lines of a text file, packed or not, with LF or CRLF endings; lines that are blank are skipped.

    A line that is not UTF-8 is rejected (its bad bytes are shown as ``\xNN`` in the record), a file in UTF-16 or UTF-32
    with a byte order mark is read as such.

    :param is_heading: asked for the first line: whether it names columns, which makes it no record.
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
    """Stream the lines of a file that is open; see :func:`read_lines`.

    :param blank: blank lines too.
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
    """Return a line, and why it is refused, if it is."""
    if len(body) >= LONGEST:
        return Line(source, number, start, shown(body)), TOO_LONG
    try:
        return Line(source, number, start, body.decode()), ""
    except UnicodeDecodeError as error:
        wide = f" (nor the {encoding.upper()} that its byte order mark tells)" if encoding else ""
        return Line(source, number, start, body.decode(errors="backslashreplace")), f"not UTF-8{wide}: {error.reason}"


def shown(record: bytes) -> str:
    """Return the beginning of a record that is too long to be kept."""
    return record[:_SHOWN].decode(errors="backslashreplace")


def _raw_lines(opened: Opened, path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, offset, bytes) of each line; of one that is too long, the first :data:`LONGEST` bytes."""
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
        except Exception as error:  # of any library that unpacks
            raise as_data_error(error, path, number) from error
        if not raw:
            return
        number += 1
        yield number, offset, raw
        offset += size
