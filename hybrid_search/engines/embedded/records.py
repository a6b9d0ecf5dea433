"""Between a document and its row: how metadata is encoded, and the row's checksums."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from hybrid_search.filters import Scalar
from hybrid_search.types import MetadataValue

__all__ = ["decode_metadata", "encode_metadata", "field_values", "text_checksum", "vector_checksum"]


def field_values(metadata: Mapping[str, MetadataValue]) -> Iterator[tuple[str, Scalar]]:
    """Return the (field, value) pairs that filters see: a repeated keyword once."""
    for name, value in metadata.items():
        if isinstance(value, tuple):
            yield from ((name, word) for word in dict.fromkeys(value))
        else:
            yield name, value


def encode_metadata(metadata: Mapping[str, MetadataValue]) -> str:
    """Return the metadata as JSON, in the order given."""
    return json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":")) if metadata else ""


def decode_metadata(text: str) -> dict[str, MetadataValue]:
    """Return what :func:`encode_metadata` was given, several keywords as a tuple."""
    if not text:
        return {}
    decoded: dict[str, Any] = json.loads(text)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in decoded.items()}


def text_checksum(id: object, title: object, text: object, metadata: object) -> int:
    """Return the CRC-32 of a document's stored columns; of damaged ones too, whatever type they have become."""
    return zlib.crc32(f"{id}\x1f{title}\x1f{text}\x1f{metadata}".encode("utf-8", "surrogatepass"))


def vector_checksum(vector: object) -> int:
    """Return the CRC-32 of a stored vector; -1 for what is none any more."""
    return zlib.crc32(vector) if isinstance(vector, bytes) else -1
