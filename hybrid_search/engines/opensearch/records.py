"""Between a document and what the server stores of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from hybrid_search.types import Document

__all__ = ["field_name", "from_source", "metadata_path", "stored_name", "to_source"]

# A dot makes a path of a name, a star a pattern, and a name of spaces alone is refused.
_SPECIAL = re.compile(r"[.%*\s]")


def stored_name(field: str) -> str:
    """Return a metadata field's name on the server: dots, stars, per cent signs and spaces as ``%2E`` and so on."""
    return _SPECIAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), field)


def field_name(stored: str) -> str:
    """Undo :func:`stored_name`."""
    return unquote(stored)


def metadata_path(field: str) -> str:
    """Return the path that queries name a metadata field by."""
    return f"metadata.{stored_name(field)}"


def to_source(document: Document, vector: list[float] | str | None) -> dict[str, Any]:
    """Make the JSON object that is indexed, but for ``added``.

    :param vector: floats, or the base64 of little-endian float32.
    """
    source: dict[str, Any] = {"id": document.id, "text": document.text}
    if document.title:
        source["title"] = document.title
    if document.metadata:
        source["metadata"] = {stored_name(name): value for name, value in document.metadata.items()}
    if vector is not None:
        source["vector"] = vector
    return source


def from_source(source: Mapping[str, Any]) -> Document:
    """Return the document again, several keywords as a tuple.

    One that somebody else indexed as plain text may lack a title or a text.
    """
    metadata = {
        field_name(name): tuple(value) if isinstance(value, list) else value
        for name, value in source.get("metadata", {}).items()
    }
    return Document(source["id"], source.get("text", ""), source.get("title", ""), metadata)
