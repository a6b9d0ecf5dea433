"""Scans a stream of JSON and returns one value at a time, without parsing the values or loading the whole file."""

from __future__ import annotations

import re
from typing import IO

from hybrid_search.loaders.lines import LONGEST

__all__ = ["BrokenJson", "Scanner"]

_STEP = 1 << 16
_BLANKS = b" \t\r\n"
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_SCALAR_END = re.compile(rb"[,\]}:\s]")


class BrokenJson(ValueError):
    """The stream is not valid JSON at the scanner's position."""


class Scanner:
    """A position in a stream of JSON.

    :ivar line: number of the line at the position, from 1.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.line = 1
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._dropped = 0

    @property
    def offset(self) -> int:
        """Number of bytes before the position."""
        return self._dropped + self._at

    def peek(self) -> bytes:
        """Move to the next byte that is not white space and return it without consuming it; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                byte = self._buffer[self._at : self._at + 1]
                if byte not in _BLANKS:
                    return byte
                self.line += byte == b"\n"
                self._at += 1
            if not self._fill():
                return b""

    def take(self, expected: bytes) -> None:
        """Consume the next byte, which must be one of ``expected``.

        :raises BrokenJson: if it is another one.
        """
        found = self.peek()
        if not found or found not in expected:
            shown = repr(found.decode("latin-1")) if found else "the end"
            raise BrokenJson(f"expected {' or '.join(expected.decode())}, found {shown}")
        self._at += 1

    def skip_bom(self) -> None:
        """Skip a byte order mark at the beginning."""
        self._fill()
        if self._buffer.startswith(b"\xef\xbb\xbf"):
            self._at = 3

    def value(self, *, keep: bool = True) -> bytes | None:
        """Consume the next value and return its bytes; None if ``keep`` is false or the value is too long.

        :raises BrokenJson: if the stream ends inside the value.
        """
        first = self.peek()
        if first in (b"{", b"[", b'"'):
            return self._walk(keep)
        return self._scalar()

    def _scalar(self) -> bytes:
        parts: list[bytes] = []
        while len(parts) < LONGEST // _STEP:
            end = _SCALAR_END.search(self._buffer, self._at)
            stop = end.start() if end else len(self._buffer)
            parts.append(self._buffer[self._at : stop])
            self._at = stop
            if end or not self._fill():
                found = b"".join(parts)
                if not found:
                    raise BrokenJson("expected a value")
                return found
        raise BrokenJson(f"a value of {LONGEST >> 20} MiB that is no text")

    def _walk(self, keep: bool) -> bytes | None:
        """Consume an object, an array or a string."""
        parts: list[bytes] = []
        size, depth, is_open, is_string = 0, 0, True, False
        while is_open:
            if self._at >= len(self._buffer) and not self._fill():
                raise BrokenJson("it breaks off")
            start = self._at
            depth, is_open, is_string = self._step(depth, is_string)
            self.line += self._buffer.count(b"\n", start, self._at)
            size += self._at - start
            keep = keep and size < LONGEST
            if keep:
                parts.append(self._buffer[start : self._at])
            else:
                parts.clear()
        return b"".join(parts) if keep else None

    def _step(self, depth: int, is_string: bool) -> tuple[int, bool, bool]:
        """Advance to the end of the value or of the buffer; returns (depth, value is unfinished, inside a string)."""
        buffer = self._buffer
        while True:
            found = (_INSIDE if is_string else _OUTSIDE).search(buffer, self._at)
            if found is None:
                self._at = len(buffer)
                return depth, True, is_string
            self._at = found.end()
            match found[0]:
                case b"\\":
                    if self._at >= len(buffer):  # the escaped byte is not in the buffer yet
                        self._fill_behind()
                        buffer = self._buffer
                    self._at += 1
                case b'"':
                    is_string = not is_string
                case b"{" | b"[":
                    depth += 1
                case _:
                    depth -= 1
            if depth <= 0 and not is_string:
                return depth, False, is_string

    def _fill(self) -> bool:
        """Read more into the buffer and drop the bytes before the position; returns whether there was more."""
        read = self._stream.read(_STEP)
        self._dropped += self._at
        self._buffer = self._buffer[self._at :] + read
        self._at = 0
        return bool(read)

    def _fill_behind(self) -> None:
        self._buffer += self._stream.read(_STEP)
