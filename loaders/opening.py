"""Opens a data file (a path, a pipe or standard input, compressed or not) as a stream of UTF-8 bytes."""

from __future__ import annotations

import codecs
import io
import os
import stat
from pathlib import Path
from typing import IO, Any, cast

from hybrid_search.errors import DataError
from hybrid_search.loaders.kinds import HEAD, is_parquet, no_text, packing_of, wide_encoding
from hybrid_search.loaders.unpacking import is_damage, unpacked

__all__ = ["STDIN", "Opened", "as_data_error", "is_stream", "open_file"]

STDIN = Path("-")
"""The path that means standard input."""

_BUFFER = 1 << 16

_DEEPEST = 3
"""Most nested compressions that are unpacked."""


class Opened:
    """A data file, open for reading.

    :ivar stream: the content, unpacked and converted to UTF-8.
    :ivar head: the first bytes of the content, at most :data:`~hybrid_search.loaders.kinds.HEAD`.
    :ivar is_plain: whether the content is the file's own bytes, so that offsets in the stream are offsets in the file.
    :ivar encoding: the encoding that was converted to UTF-8; empty if the file was UTF-8 already.
    """

    def __init__(self, file: IO[bytes], stream: IO[bytes], head: bytes, *, is_plain: bool, encoding: str) -> None:
        self.stream = stream
        self.head = head
        self.is_plain = is_plain
        self.encoding = encoding
        self._file = file

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self._file.close()  # not every decompressing stream closes the file below it


def is_stream(path: Path) -> bool:
    """Return whether a path can be read only once: standard input, a pipe, a socket, a device."""
    if path == STDIN:
        return True
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_file(path: Path, *, tables: bool = False) -> Opened:
    """Open a file and unpack it; its compression is recognised by its first bytes, not by its name.

    :param tables: also allow a parquet file, of which only ``head`` is used.
    :raises DataError: if it can't be opened, or is of a kind without text or rows (an archive, a PDF, a database …).
    :raises MissingExtra: if the package for its compression is not installed.
    """
    try:
        file: IO[bytes] = os.fdopen(os.dup(0), "rb") if path == STDIN else path.open("rb")
    except OSError as error:
        raise as_data_error(error, path, 0) from error
    try:
        return _opened(file, path, tables=tables)
    except Exception as error:
        file.close()
        if isinstance(error, OSError) or is_damage(error):
            raise as_data_error(error, path, 0) from error
        raise


def as_data_error(error: Exception, path: Path, line: int) -> DataError:
    """Make the error that says in which file reading stopped, after which line, and why."""
    if isinstance(error, DataError):
        return error
    if is_damage(error):
        return DataError(
            f"{path}: the packed stream breaks off or is damaged after line {line} ({error}); fetch the file again"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return DataError(f"{path}: can't be read after line {line}: {reason}")


def _opened(file: IO[bytes], path: Path, *, tables: bool) -> Opened:
    is_plain = True
    stream, head = _headed(file, rewind=file.seekable())
    for _ in range(_DEEPEST):
        packing = packing_of(head)
        if packing is None:
            break
        is_plain = False
        stream, head = _headed(unpacked(stream, packing, str(path)))
    kind = no_text(head)
    if kind is not None and not (tables and is_plain and is_parquet(head)):
        raise DataError(f"{path} is {kind[0]}, which is not read here; {kind[1]}")
    encoding = wide_encoding(head)
    if encoding:
        stream, head = _headed(cast(IO[bytes], io.BufferedReader(_Recoded(stream, encoding))))
    return Opened(file, stream, head, is_plain=is_plain and not encoding, encoding=encoding)


def _headed(stream: IO[bytes], *, rewind: bool = False) -> tuple[IO[bytes], bytes]:
    """Return a stream that starts at the beginning, and its first bytes.

    :param rewind: the stream can seek back. (Decompressing streams claim that they can even if they read a pipe.)
    """
    head = stream.read(HEAD)
    if rewind:
        stream.seek(0)
        return stream, head
    return cast(IO[bytes], io.BufferedReader(_PutBack(head, stream), _BUFFER)), head


class _PutBack(io.RawIOBase):
    """A stream of bytes that were already read, followed by the rest of the stream they were read from."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._rest.close()
        super().close()


class _Recoded(io.RawIOBase):
    """Converts UTF-16 or UTF-32 to UTF-8; invalid input becomes invalid UTF-8, so that its line is rejected."""

    _STEP = 1 << 15

    def __init__(self, wide: IO[bytes], encoding: str) -> None:
        self._wide = wide
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            self._ready = self._next()
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._wide.close()
        super().close()

    def _next(self) -> bytes:
        wide = self._wide.read(self._STEP)
        self._ended = not wide
        try:
            text = self._decoder.decode(wide, final=self._ended)
        except UnicodeDecodeError:
            # After an invalid or incomplete character the rest can't be decoded reliably.
            self._ended = True
            return b"\xff"
        return text.encode("utf-8", "surrogatepass")
