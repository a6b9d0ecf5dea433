"""Recognises kinds of files by their first bytes, as names may be wrong."""

from __future__ import annotations

from typing import Literal

__all__ = ["HEAD", "Packing", "is_json_array", "is_parquet", "no_text", "packing_of", "wide_encoding"]

HEAD = 512
"""Number of first bytes that are looked at."""

Packing = Literal["gzip", "bzip2", "xz", "zstd", "zip"]

_PACKED: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_NO_TEXT: tuple[tuple[bytes, str, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (b"\x04\x22\x4d\x18", "packed with LZ4", "unpack it, or pack it with gzip or zstd"),
    (b"\x1f\x9d", "packed with compress", "unpack it, or pack it with gzip or zstd"),
    (b"PAR1", "a parquet file", "give it to a loader of documents or rows, or write it as text"),
    (b"ARROW1", "an Arrow file", "write it as parquet or JSON lines"),
    (b"Obj\x01", "an Avro file", "write it as parquet or JSON lines"),
    (b"ORC", "an ORC file", "write it as parquet or JSON lines"),
    (b"SQLite format 3\0", "an SQLite database", "write its rows as JSON lines"),
    (b"%PDF-", "a PDF", "extract its text into JSON lines"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write it as parquet or JSON lines"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", "save it as CSV"),
)
_WIDE = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_TAR = slice(257, 262)
_BZIP2_BLOCK = (b"1AY&SY", b"\x17rE8P\x90")
_BLANKS = b" \t\r\n"


def packing_of(head: bytes) -> Packing | None:
    """Return the compression of a file, or None."""
    for magic, packing in _PACKED:
        if head.startswith(magic):
            # A text may begin with "BZh"; in bzip2 a block with a mark of its own follows.
            return packing if packing != "bzip2" or head[4:10] in _BZIP2_BLOCK else None
    return None


def no_text(head: bytes) -> tuple[str, str] | None:
    """Return (kind, what to do) for a file that is known not to be text; None for any other."""
    if head[_TAR] == b"ustar":
        return "a tar archive", "unpack it and give the folder, or one of its files"
    return next(((what, remedy) for magic, what, remedy in _NO_TEXT if head.startswith(magic)), None)


def wide_encoding(head: bytes) -> str:
    """Return ``utf-16`` or ``utf-32`` if the file begins with such a byte order mark, else an empty string."""
    return next((encoding for mark, encoding in _WIDE if head.startswith(mark)), "")


def is_parquet(head: bytes) -> bool:
    """Return whether a file is a parquet file."""
    return head.startswith(b"PAR1")


def is_json_array(head: bytes) -> bool:
    """Return whether a JSON file is a single array of objects, rather than JSON lines."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANKS)
    return text.startswith(b"[") and text[1:].lstrip(_BLANKS)[:1] in (b"{", b"]", b"")
