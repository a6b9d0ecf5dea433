"""Parses JSON objects into documents and queries, checking each field; for BEIR folders and a user's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.loaders.lines import Line
from hybrid_search.types import Document, MetadataValue, Query, id_fault

__all__ = ["FieldError", "check_id", "one_of", "parse_document", "parse_query"]

_IDS = ("id", "_id", "docid")
_TEXTS = ("text", "contents")
"""Accepted names of the id and of the text: BEIR uses ``_id``, Pyserini's collections ``docid`` and ``contents``."""
_LONG = range(-(2**63), 2**63)


class FieldError(ValueError):
    """A field of a record is invalid. The readers catch this and reject the record."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def parse_document(record: Mapping[str, Any], line: Line | None = None) -> Document:
    """Build a document from its id, text, ``title`` and ``metadata``; other fields are ignored.

    The id is ``id``, ``_id`` or ``docid``, the text ``text`` or ``contents``.

    :param line: where the record was read, if it was.
    :raises FieldError: on a bad id, a bad value, or if both title and text are blank.
    """
    id = _id(record)
    text, title = _string(record, one_of(record, _TEXTS)), _string(record, "title")
    if not (text.strip() or title.strip()):
        raise FieldError("text", "blank, and so is the title")
    origin = (line.source, line.number) if line else None
    return Document(id, text, title, _metadata(record.get("metadata")), origin=origin)


def parse_query(record: Mapping[str, Any]) -> Query:
    """Build a query from its id and text, with the same names as in a document; other fields are ignored.

    :raises FieldError: on a bad id or a blank text.
    """
    id, text = _id(record), _string(record, one_of(record, _TEXTS))
    if not text.strip():
        raise FieldError("text", "blank")
    return Query(id, text)


def check_id(id: str, field: str = "id") -> str:
    """Return the id if it can name a document in every engine.

    :raises FieldError: if it is blank, above 512 bytes, no valid Unicode, or has control characters.
    """
    if fault := id_fault(id):
        raise FieldError(field, fault)
    return id


def _id(record: Mapping[str, Any]) -> str:
    if "id" in record and "_id" in record:
        raise FieldError("id", "both 'id' and '_id' are given; keep one")
    field = one_of(record, _IDS)
    value = record.get(field)
    if value is None:
        raise FieldError(field, "missing")
    # In Python bool is a subclass of int, but `true` is not an id.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FieldError(field, f"expected a string or an integer, found {_kind(value)}")
    return check_id(value, field)


def one_of(record: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the first of a field's alternative names that the record has, or the first of all if it has none."""
    return next((name for name in names if name in record), names[0])


def _string(record: Mapping[str, Any], field: str) -> str:
    value = record.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FieldError(field, f"expected a string, found {_kind(value)}")
    return value


def _metadata(value: Any) -> dict[str, MetadataValue]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldError("metadata", f"expected an object, found {_kind(value)}")
    return {name: _value(f"metadata.{name}", item) for name, item in value.items() if item is not None}


def _value(field: str, value: Any) -> MetadataValue:
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise FieldError(field, "a list may hold strings only")
    if isinstance(value, dict):
        raise FieldError(field, "nested objects can't be stored; flatten it")
    if isinstance(value, int) and value not in _LONG:
        raise FieldError(field, "an integer beyond 64 bits can't be stored")
    scalar: str | int | float | bool = value
    return scalar


def _kind(value: Any) -> str:
    names = {bool: "a truth value", int: "an integer", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
