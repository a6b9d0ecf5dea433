"""Between a document and its row: what is refused, how metadata is typed and encoded, and the row's checksum."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hybrid_search.config import FieldType
from hybrid_search.filters import Scalar
from hybrid_search.types import Document, MetadataValue, Rejection

__all__ = [
    "Refused",
    "decode_metadata",
    "encode_metadata",
    "field_values",
    "refusal",
    "text_checksum",
    "typed_fields",
    "vector_checksum",
]

LONGEST_ID = 512
"""Bytes; OpenSearch's limit."""

LONGEST_KEYWORD = 32_766
"""Bytes; Lucene's limit."""


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """Why a document is refused; ``field`` names the part at fault."""

    field: str
    reason: str


def refusal(document: Document, refused: Refused) -> Rejection:
    """Make the record that the caller gets back, with the whole document in it."""
    record = {"id": document.id, "text": document.text, "title": document.title, "metadata": dict(document.metadata)}
    return Rejection(
        source="index", line=0, field=refused.field, reason=refused.reason, record=json.dumps(record, default=repr)
    )


def typed_fields(document: Document, declared: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """Check a document, and return the metadata fields it would newly declare.

    :raises Refused: if it can't be stored.
    """
    _check_text("id", document.id)
    _check_text("title", document.title)
    _check_text("text", document.text)
    if not 0 < len(document.id.encode()) <= LONGEST_ID:
        raise Refused("id", f"the id has {len(document.id.encode())} bytes; it must have 1 to {LONGEST_ID}")
    if not document.searchable_text.strip():
        raise Refused("text", "text and title are empty")
    new: dict[str, FieldType] = {}
    for name, value in document.metadata.items():
        if not name:
            raise Refused("metadata", "a metadata field has no name")
        _check_text("metadata", name)
        kind = _kind(name, value)
        wanted = declared.get(name)
        if wanted is None:
            new[name] = kind
        elif kind != wanted and not (kind == "long" and wanted == "double"):
            raise Refused(name, f"{name} is {_shown(value)}, which is {kind}; the index has it as {wanted}")
    return new


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise Refused(name, f"{name} is {_shown(value)}; it must be text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(name, f"{name} is no valid Unicode: a lone surrogate at character {error.start + 1}") from None


def _kind(name: str, value: MetadataValue) -> FieldType:
    match value:
        case bool():
            return "boolean"
        case int():
            if not -(2**63) <= value < 2**63:
                raise Refused(name, f"{name} is {value}; a whole number must fit in 64 bits")
            return "long"
        case float():
            if not math.isfinite(value):
                raise Refused(name, f"{name} is {value}; a number must be finite")
            return "double"
        case str() | tuple():
            for word in (value,) if isinstance(value, str) else value:
                _check_text(name, word)
                if len(word.encode()) > LONGEST_KEYWORD:
                    raise Refused(name, f"a value of {name} has more than {LONGEST_KEYWORD} bytes")
            return "keyword"
    raise Refused(name, f"{name} is {_shown(value)}; it must be text, a number, true or false, or several texts")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


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
    return zlib.crc32("\x1f".join(map(str, (id, title, text, metadata))).encode("utf-8", "surrogatepass"))


def vector_checksum(vector: object) -> int:
    """Return the CRC-32 of a stored vector; -1 for what is none any more."""
    return zlib.crc32(vector) if isinstance(vector, bytes) else -1
