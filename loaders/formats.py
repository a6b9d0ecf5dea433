"""The line formats of retrieval data: plain or gzipped text, TSV, JSON lines, qrels.

Everything streams. A line that can't be taken is handed to ``reject`` with file, line and field, and reading goes on;
only what makes the rest of a file unreadable (a damaged gzip stream, an unreadable disk) raises.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec

from hybrid_search.errors import DataError
from hybrid_search.types import Judgement, Rejection

__all__ = ["Line", "Reject", "is_gzip", "read_json_lines", "read_lines", "read_qrels", "read_tsv"]

Reject = Callable[[Rejection], None]
"""Takes a record that was refused."""

_GZIP_MAGIC = b"\x1f\x8b"
_QRELS_HEADERS = frozenset({"query-id", "query_id", "qid"})


class Line(NamedTuple):
    """One line of a text file.

    :ivar source: the file.
    :ivar number: 1-based.
    :ivar offset: where the line begins, in bytes of the uncompressed file.
    :ivar text: the line without its ending (and without a byte order mark).
    """

    source: str
    number: int
    offset: int
    text: str

    def rejected(self, field: str, reason: str) -> Rejection:
        """Describe why this line was refused; ``field`` is empty when the whole line is at fault."""
        return Rejection(source=self.source, line=self.number, field=field, reason=reason, record=self.text)


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes, not by its name, whether a file is gzipped."""
    with path.open("rb") as stream:
        return stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC


def read_lines(path: Path, reject: Reject) -> Iterator[Line]:
    r"""Stream the lines of a UTF-8 file, gzipped or not, with LF or CRLF endings; lines that are blank are skipped.

    A line that is not UTF-8 is rejected (its bad bytes are shown as ``\xNN`` in the record).

    :raises DataError: if the file can't be read to its end.
    """
    offset = 0
    for number, raw in _raw_lines(path):
        start, offset = offset, offset + len(raw)
        body = raw.rstrip(b"\r\n")
        if number == 1:
            body = body.removeprefix(b"\xef\xbb\xbf")
        try:
            line = Line(str(path), number, start, body.decode())
        except UnicodeDecodeError as error:
            bad = Line(str(path), number, start, body.decode(errors="backslashreplace"))
            reject(bad.rejected("", f"not UTF-8: {error.reason}"))
            continue
        if line.text and not line.text.isspace():
            yield line


def read_tsv(path: Path, columns: Sequence[str], reject: Reject) -> Iterator[tuple[Line, list[str]]]:
    """Stream the rows of a tab-separated file without a header and without quoting.

    :param columns: what the columns are, for the message; a row with more or fewer is rejected.
    :raises DataError: as :func:`read_lines`.
    """
    for line in read_lines(path, reject):
        cells = line.text.split("\t")
        if len(cells) == len(columns):
            yield line, cells
        else:
            wanted = f"{len(columns)} tab-separated columns ({', '.join(columns)})"
            reject(line.rejected("", f"expected {wanted}, found {len(cells)}"))


def read_json_lines(path: Path, reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Stream the objects of a JSON-lines file. What is no JSON object is rejected, ``NaN`` and broken surrogates too.

    :raises DataError: as :func:`read_lines`.
    """
    decoder = msgspec.json.Decoder()
    for line in read_lines(path, reject):
        try:
            record = decoder.decode(line.text)
        except (msgspec.MsgspecError, RecursionError) as error:
            reject(line.rejected("", f"not JSON: {error}"))
            continue
        if isinstance(record, dict):
            yield line, record
        else:
            reject(line.rejected("", "not a JSON object"))


def read_qrels(path: Path, reject: Reject) -> Iterator[Judgement]:
    """Stream judgements in any usual form: TREC (query, iteration, document, grade), or query, document, grade.

    The three-column form may begin with BEIR's header. Columns are split at tabs where a line has any, else at blanks.

    :raises DataError: as :func:`read_lines`.
    """
    for line in read_lines(path, reject):
        cells = line.text.split("\t") if "\t" in line.text else line.text.split()
        if line.number == 1 and cells[0] in _QRELS_HEADERS:
            continue
        if len(cells) not in (3, 4):
            expected = "expected 3 columns (query, document, grade) or TREC's 4 (query, iteration, document, grade)"
            reject(line.rejected("", f"{expected}, found {len(cells)}"))
            continue
        query_id, document_id, grade = cells[0], cells[-2], cells[-1]
        if not query_id or not document_id:
            reject(line.rejected("query" if not query_id else "document", "blank id"))
        elif not _is_integer(grade):
            reject(line.rejected("grade", "not an integer"))
        else:
            yield Judgement(query_id, document_id, int(grade))


def _is_integer(text: str) -> bool:
    # str.isdigit takes superscripts, int() takes underscores: neither belongs in a data file.
    digits = text.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(path) as stream:
            for number, raw in enumerate(stream, 1):
                yield number, raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage = f"{path}: the gzip stream breaks off or is damaged after line {number} ({error}); fetch the file again"
        raise DataError(damage) from error
    except OSError as error:
        raise DataError(f"{path}: can't be read after line {number}: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if is_gzip(path) else path.open("rb")
