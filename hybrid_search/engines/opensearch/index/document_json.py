"""Documents as JSON: the source that the server stores, and the lines of bulk requests. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np

from hybrid_search.protocols import Vectors
from hybrid_search.types import Document

__all__ = [
    "Item",
    "as_base64",
    "as_decimals",
    "field_name",
    "from_source",
    "item_of",
    "metadata_path",
    "stored_name",
    "to_source",
    "vector_values",
]


# A dot separates the parts of a path, a star makes a pattern, and a name of spaces alone is refused.
_SPECIAL = re.compile(r"[.%*\s]")


def stored_name(field: str) -> str:
    """Return a metadata field's name on the server; dots, stars, per cent signs and spaces become ``%2E`` and so on."""
    return _SPECIAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), field)


def field_name(stored: str) -> str:
    """Invert :func:`stored_name`."""
    return unquote(stored)


def metadata_path(field: str) -> str:
    """Return the path of a metadata field in queries."""
    return f"metadata.{stored_name(field)}"


def to_source(document: Document, vector: list[float] | str | None) -> dict[str, Any]:
    """Return the JSON object to be indexed, without ``added``.

    :param vector: floats, or base64 of little-endian float32.
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
    """Convert a source back to a document; several values of a field become a tuple.

    In documents indexed by other software, parts may be missing, or have other types that a server accepts: null, a
    number for a text, several texts, a list of objects. Each is read as the server indexed it.

    :param id: the document's id on the server, used if the source has none.
    """
    recorded = source.get("id")
    metadata: dict[str, Any] = {}
    for one in _several(source.get("metadata")):
        for name, value in one.items() if isinstance(one, Mapping) else ():
            values = [*_several(metadata.get(field_name(name))), *_several(value)]
            if values or value == []:
                several = isinstance(value, list) or len(values) > 1
                metadata[field_name(name)] = tuple(map(_plain, values)) if several else _plain(values[0])
    return Document(
        recorded if isinstance(recorded, str) and recorded else id or _text(recorded),
        _text(source.get("text")),
        _text(source.get("title")),
        metadata,
    )


def _several(value: Any) -> list[Any]:
    """Return a value as a flat list without nulls, as a server reads nested lists."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [inner for one in value for inner in _several(one)]
    return [value]


def _plain(value: Any) -> Any:
    """Return a value that metadata can have; an object, which it can't, becomes JSON text."""
    return value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(str(_plain(one)) for one in _several(value))


_DIGITS = 9
"""Significant digits that distinguish any two float32."""

_LARGEST_POWER = 22
_POWERS_OF_TEN = 10.0 ** np.arange(_LARGEST_POWER + 1)
_LOG10_OF_2 = 0.30103


@dataclass(frozen=True, slots=True)
class Item:
    """A document ready to be sent, encoded once for all attempts.

    :ivar added: its position in the order of first addition, which a replacement inherits.
    :ivar rest: the JSON object without ``added``.
    """

    id: str
    added: int
    rest: bytes

    @property
    def size(self) -> int:
        """Its approximate size in a request, in bytes."""
        return len(self.rest) + len(self.id) + 64

    def lines(self, action: str, added: int | None = None) -> tuple[bytes, bytes]:
        """Return the action line and the source line of a bulk request."""
        position = self.added if added is None else added
        return msgspec.json.encode({action: {"_id": self.id}}), b'{"added":%d,%b' % (position, self.rest[1:])


def item_of(document: Document, vector: list[float] | str | None, added: int) -> Item:
    """Encode a document.

    :param vector: as :func:`vector_values` returns it.
    """
    return Item(document.id, added, msgspec.json.encode(to_source(document, vector)))


def vector_values(vectors: Vectors | None, positions: Sequence[int], *, base64: bool) -> Sequence[Any]:
    """Return each vector in JSON form: floats, or base64 if the server can read it; None for a document without one.

    :param vectors: (n, dimension) float32; a zero row for "no vector".
    :param positions: the rows to convert.
    """
    if vectors is None:
        return [None] * len(positions)
    chosen = vectors[positions]
    values = as_base64(chosen) if base64 else as_decimals(chosen)
    return [value if row.any() else None for value, row in zip(values, chosen, strict=True)]


def as_base64(vectors: Vectors) -> list[str]:
    """Return each row as base64 of little-endian float32."""
    return [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4")]


def as_decimals(vectors: Vectors) -> list[list[float]]:
    """Return each row as decimals of nine or ten significant digits, which convert to the same float32.

    A float32 converted to double prints with up to seventeen digits, half of which the server would drop again.
    """
    wide = vectors.astype(np.float64)
    _, power_of_two = np.frexp(wide)
    decimals = _DIGITS - 1 - np.floor((power_of_two - 1) * _LOG10_OF_2).astype(np.int64)
    scale = _POWERS_OF_TEN[decimals.clip(0, _LARGEST_POWER)]
    # The integer and the power of ten are exact, so the quotient is the double nearest to the decimal.
    rounded = np.rint(wide * scale) / scale
    rows: list[list[float]] = np.where(decimals > _LARGEST_POWER, wide, rounded).tolist()
    return rows
