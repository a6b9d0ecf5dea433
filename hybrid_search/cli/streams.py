"""The standard streams: readers that go away, and encodings that lack a character."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

__all__ = ["READER_WENT", "ReaderWent", "forgive", "let_go", "to_a_reader"]

READER_WENT = 141
"""What a shell tells the end by SIGPIPE as, which is how programs end whose output nobody reads any more."""

_ESCAPES = "hybrid-search-escapes"


class ReaderWent(Exception):
    """The reader of our output went away, as ``| head`` does."""


def forgive() -> None:
    r"""Let no character of a document or a query end a command.

    What the encoding of stdout or stderr lacks is written as ``\\u2192``, which is what JSON has for it, so that JSON
    stays JSON; bytes on stdin that are no text of its encoding come in as replacement characters.
    """
    codecs.register_error(_ESCAPES, _escaped)
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, _ESCAPES), (sys.stderr, _ESCAPES)):
        # Another way to deal with errors is one that the user chose (PYTHONIOENCODING=ascii:replace).
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape", "backslashreplace"):
            stream.reconfigure(errors=errors)


@contextlib.contextmanager
def to_a_reader() -> Iterator[None]:
    """Write all that the block prints.

    :raises ReaderWent: if nobody reads it.
    """
    try:
        try:
            yield
        finally:  # while there is somebody to tell that what is still in the buffer can't be written
            if sys.stdout is not None and not sys.stdout.closed:
                sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderWent from error


def let_go() -> None:
    """Send what is still to be written nowhere, so that the interpreter's own end does not stumble over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError, OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_units(error.object[error.start : error.end])), error.end


def _units(text: str) -> Iterator[str]:
    """Write each character as JSON does: in UTF-16, so that those beyond the first 65,536 are two."""
    data = text.encode("utf-16-be", "surrogatepass")
    for place in range(0, len(data), 2):
        yield f"\\u{data[place] << 8 | data[place + 1]:04x}"
