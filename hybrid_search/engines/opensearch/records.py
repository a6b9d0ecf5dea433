"""Between a document and what the server stores of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

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


def from_source(source: Mapping[str, Any], id: str = "") -> Document:
    """Return the document again, several values of a field as a tuple.

    What somebody else indexed may lack a part, or hold in its place what a server takes for the same: null, a number
    for a text, several texts, objects one after the other. Each is read as the server indexed it.

    :param id: under which it is stored, for one that does not say.
    """
    held = source.get("id")
    metadata: dict[str, Any] = {}
    for one in _several(source.get("metadata")):
        for name, value in one.items() if isinstance(one, Mapping) else ():
            values = [*_several(metadata.get(field_name(name))), *_several(value)]
            if values or value == []:
                several = isinstance(value, list) or len(values) > 1
                metadata[field_name(name)] = tuple(map(_plain, values)) if several else _plain(values[0])
    return Document(
        held if isinstance(held, str) and held else id or _text(held),
        _text(source.get("text")),
        _text(source.get("title")),
        metadata,
    )


def _several(value: Any) -> list[Any]:
    """Return what stands in a place, without nulls: lists in lists are one list to a server."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [inner for one in value for inner in _several(one)]
    return [value]


def _plain(value: Any) -> Any:
    """Return a value that a document's metadata can hold; an object, which is no such thing, as its JSON."""
    return value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(str(_plain(one)) for one in _several(value))
