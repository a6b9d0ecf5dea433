"""Chooses the reader of a file, by its first bytes and its name, and reads it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import PurePath
from typing import IO

from hybrid_search.errors import MissingExtra
from hybrid_search.loaders.files.html import html
from hybrid_search.loaders.files.markup import markdown, restructured_text
from hybrid_search.loaders.files.office import docx, is_docx, pdf
from hybrid_search.loaders.files.page import LARGEST, Page, Unreadable
from hybrid_search.loaders.files.texts import decoded, plain
from hybrid_search.loaders.kinds import HEAD, no_text, packing_of, wide_encoding
from hybrid_search.loaders.unpacking import is_damage, unpacked

__all__ = ["Binary", "is_records", "kind_of", "page_of", "unpacked_file"]

_KINDS = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd"), "markdown"),
    **dict.fromkeys((".rst", ".rest"), "rst"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
    ".docx": "docx",
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    ".json": "json",
}
_TEXTS: dict[str, Callable[[str], Page]] = {
    "markdown": markdown,
    "rst": restructured_text,
    "html": html,
    "text": plain,
}
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_PACKAGES = {
    "charset_normalizer": "charset-normalizer",
    "markdown_it": "markdown-it-py",
    "docx": "python-docx",
    "yaml": "PyYAML",
}


class Binary(Exception):
    """A file is no text and no kind of document that is read; it is counted, not rejected."""


def kind_of(name: str) -> str:
    """Return the kind of a file by its name: ``text`` if it is none of the others."""
    path = PurePath(name)
    if path.suffix.lower() in _PACKED:
        path = path.with_suffix("")
    return _KINDS.get(path.suffix.lower(), "text")


def is_records(kind: str) -> bool:
    """Return whether each file of a kind has many documents."""
    return kind in ("csv", "json", "jsonl")


def unpacked_file(data: bytes, name: str) -> bytes:
    """Unpack a file that holds one packed file; others are returned as they are.

    :raises Unreadable: if it is an archive, is damaged, or unpacks to more than is read.
    :raises Binary: if it is of another kind that is not read.
    """
    packing = packing_of(data[:HEAD])
    if packing == "zip":
        if is_docx(data):
            return data
        if kind_of(name) == "docx":
            raise Unreadable("no DOCX file, or a broken one")
        raise Unreadable("a zip archive; unpack it to have its files read")
    if packing is not None:
        try:
            data = _read_all(unpacked(io.BytesIO(data), packing, name))
        except Exception as error:
            if is_damage(error) or isinstance(error, OSError):
                raise Unreadable(f"the packed file is damaged: {error}") from error
            raise
    kind = no_text(data[:HEAD])
    if kind is not None and "archive" in kind[0]:
        raise Unreadable(f"{kind[0]}; {kind[1]}")
    if kind is not None and not data.startswith(b"%PDF-"):
        raise Binary
    return data


def _read_all(stream: IO[bytes]) -> bytes:
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Unreadable(f"unpacks to more than {LARGEST >> 20} MiB")
    return data


def page_of(data: bytes, kind: str) -> tuple[Page, str]:
    """Read the content of a file that is one document; returns it with its kind, by what it is.

    :raises Unreadable: if it can't be read, with the reason.
    :raises Binary: if it is no text.
    :raises MissingExtra: if the reader of this kind is not installed.
    """
    head = data[:HEAD]
    if head.startswith(b"%PDF-"):
        kind = "pdf"
    elif packing_of(head) == "zip":
        kind = "docx"
    elif kind in ("pdf", "docx"):
        raise Unreadable(f"no {kind.upper()}: it does not begin like one")
    elif b"\0" in head and not wide_encoding(head):
        raise Binary
    try:
        if kind in ("pdf", "docx"):
            return (pdf if kind == "pdf" else docx)(data), kind
        text = decoded(data)
        page = _TEXTS[kind](text)
        if not page.sections and kind in ("markdown", "rst"):  # marks nested so deeply that their parser gives up
            return plain(text), "text"
        return page, kind
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        raise MissingExtra(_PACKAGES.get(package, package), "files") from error
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # the readers' own errors have no common root, and a broken file raises any of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unreadable(f"a broken {kind} file: {reason}") from error
