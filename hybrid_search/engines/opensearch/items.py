"""Documents as the bytes that are sent. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from hybrid_search.engines.opensearch.records import to_source
from hybrid_search.protocols import Vectors
from hybrid_search.types import Document

__all__ = ["Item", "as_base64", "as_decimals", "item_of", "vector_values"]

_DIGITS = 9
"""Significant digits that tell any two float32 apart."""

_LARGEST_POWER = 22
_POWERS_OF_TEN = 10.0 ** np.arange(_LARGEST_POWER + 1)
_LOG10_OF_2 = 0.30103


@dataclass(frozen=True, slots=True)
class Item:
    """A document ready to be sent, encoded once for all attempts.

    :ivar added: its place in the order of first addition, which a replacement takes over from what it replaces.
    :ivar rest: the JSON object without ``added``.
    """

    id: str
    added: int
    rest: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a request, nearly."""
        return len(self.rest) + len(self.id) + 64

    def lines(self, action: str, added: int | None = None) -> tuple[bytes, bytes]:
        """Return the action and the source of a bulk request."""
        place = self.added if added is None else added
        return msgspec.json.encode({action: {"_id": self.id}}), b'{"added":%d,%b' % (place, self.rest[1:])


def item_of(document: Document, vector: list[float] | str | None, added: int) -> Item:
    """Encode a document.

    :param vector: as :func:`vector_values` makes them.
    """
    return Item(document.id, added, msgspec.json.encode(to_source(document, vector)))


def vector_values(vectors: Vectors | None, positions: Sequence[int], *, base64: bool) -> Sequence[Any]:
    """Return what stands for each vector in JSON: floats, or a base64 text where the server reads it; None for none.

    :param vectors: (n, dimension) float32; a zero row means that there is no vector.
    :param positions: the rows wanted.
    """
    if vectors is None:
        return [None] * len(positions)
    chosen = vectors[positions]
    values = as_base64(chosen) if base64 else as_decimals(chosen)
    return [value if row.any() else None for value, row in zip(values, chosen, strict=True)]


def as_base64(vectors: Vectors) -> list[str]:
    """Return each row as base64 of its little-endian float32 bytes."""
    return [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4")]


def as_decimals(vectors: Vectors) -> list[list[float]]:
    """Return each row as decimals of nine or ten significant digits, which are read as the same float32.

    A float32 that is widened prints with up to seventeen digits, of which the server throws half away again.
    """
    wide = vectors.astype(np.float64)
    _, power_of_two = np.frexp(wide)
    places = _DIGITS - 1 - np.floor((power_of_two - 1) * _LOG10_OF_2).astype(np.int64)
    scale = _POWERS_OF_TEN[places.clip(0, _LARGEST_POWER)]
    # Both the whole number and the power of ten are exact, so that the quotient is the double nearest to the decimal.
    rounded = np.rint(wide * scale) / scale
    rows: list[list[float]] = np.where(places > _LARGEST_POWER, wide, rounded).tolist()
    return rows
