"""PDF and DOCX."""

from __future__ import annotations

import io
import logging
import re
import time
import zipfile
from typing import TYPE_CHECKING, Any

from hybrid_search.loaders.files.page import LARGEST, Outline, Page, Unreadable, plain_values
from hybrid_search.types import MetadataValue, Section

if TYPE_CHECKING:
    from docx.document import Document as Docx

__all__ = ["docx", "is_docx", "pdf"]

_MOST_SECONDS = 120.0
"""Most time for one PDF; a broken one can keep its parser busy."""

_MOST_PARTS = 10_000
_HYPHENATED = re.compile(r"(\w)-\n(?=[a-zß-ÿ])")
_HEADING = re.compile(r"(?:Heading|heading) (\d)")


def pdf(data: bytes) -> Page:
    """Read a PDF; each page is a section.

    :raises Unreadable: if it needs a password, holds no text, or takes too long.
    :raises ImportError: if the parser is not installed.
    """
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of each flaw of a file
    began, sections, size = time.monotonic(), list[Section](), 0
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("needs a password")
    for number, page in enumerate(reader.pages, 1):
        if text := _HYPHENATED.sub(r"\1", page.extract_text()).strip():
            sections.append(Section((f"page {number}",), text))
        size += len(text)
        if size > LARGEST or time.monotonic() - began > _MOST_SECONDS:
            raise Unreadable(f"too large to be read: {size:,} characters in {number:,} pages")
    if not sections:
        raise Unreadable("holds no text, only pictures of it perhaps; run OCR on it first")
    said = reader.metadata
    title = (said.title or "").strip() if said else ""
    return Page(sections, title, _dates_and_authors(said.author, said.creation_date) if said else {})


def is_docx(data: bytes) -> bool:
    """Return whether a zip archive is a DOCX file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "word/document.xml" in archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def docx(data: bytes) -> Page:
    """Read a DOCX file: headings by their styles, paragraphs, tables.

    :raises Unreadable: if it unpacks to more than is read.
    :raises ImportError: if the parser is not installed.
    """
    from docx import Document

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
        # A part is never unpacked to more than is said here.
        if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > LARGEST:
            raise Unreadable(f"unpacks to more than {LARGEST >> 20} MiB")
    document = Document(io.BytesIO(data))
    outline = _outline(document)
    sections, said = outline.sections(), document.core_properties
    title = said.title.strip() or outline.title
    return Page(sections, title, _dates_and_authors(said.author, said.modified or said.created))


def _outline(document: Docx) -> Outline:
    from docx.table import Table

    outline = Outline()
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                outline.paragraph(" | ".join(" ".join(cell.text.split()) for cell in row.cells))
            continue
        style = (block.style.name if block.style is not None else "") or ""
        level = int(found[1]) + 1 if (found := _HEADING.match(style)) else int(style == "Title")
        if level:
            outline.heading(level, block.text)
        else:
            outline.paragraph(block.text)
    return outline


def _dates_and_authors(author: Any, date: Any) -> dict[str, MetadataValue]:
    return plain_values({"author": author, "date": date.date() if date is not None else None})
