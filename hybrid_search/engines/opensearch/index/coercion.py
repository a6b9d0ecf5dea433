"""Documents as a server has indexed them: what others wrote in another form, read as the server read it. Pure.

A server takes ``"2001"`` for a number, 7 for a keyword, null for nothing, and a list for several values, and keeps the
source as it came. Whoever carries documents on, to another index, must carry what is found, and not what was typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.index.document_json import field_name
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document

__all__ = ["as_indexed"]

_PATH = "metadata."


def as_indexed(id: str, source: Mapping[str, Any], fields: Mapping[str, FieldType]) -> Document:
    """Return a document with its values as they are found.

    A value that no rule here knows stays as it is. Several numbers or truth values are a tuple of them.

    :param id: by which the server knows the document.
    :param fields: those that the index has declared.
    """
    metadata: dict[str, list[Any]] = {}
    several = set()
    for stored, value in _entries(source):
        name = field_name(stored)
        if isinstance(value, list) or name in metadata:
            several.add(name)
        values = [_coerced(one, fields.get(name)) for one in _flat(value)]
        metadata.setdefault(name, []).extend(one for one in values if one is not None)
    return Document(
        id,
        _text(source.get("text")),
        _text(source.get("title")),
        {name: _value(values, name in several) for name, values in metadata.items() if values},
    )


def _entries(source: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Iterate over the metadata, an object, a list of them, or written as paths at the top."""
    for part in _flat(source.get("metadata")):
        if isinstance(part, Mapping):
            yield from part.items()
    for key, value in source.items():
        if key.startswith(_PATH):
            yield key.removeprefix(_PATH), value


def _flat(value: Any) -> Iterator[Any]:
    """Iterate over one value or several, in lists of any depth, nulls left out."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif value is not None:
        yield value


def _value(values: list[Any], several: bool) -> Any:
    if len(values) > 1 or (several and isinstance(values[0], str)):
        return tuple(values)
    return values[0]


def _text(value: Any) -> str:
    return " ".join(_words(_flat(value)))


def _words(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _coerced(value: Any, kind: FieldType | None) -> Any:
    """Return a value as a field of some type reads it, None for nothing."""
    match kind:
        case "keyword" if isinstance(value, int | float):  # truth values too
            return msgspec.json.encode(value).decode()
        case "long" if isinstance(value, str | float):
            return _number(value, whole=True)
        case "double" if isinstance(value, str):
            return _number(value.rstrip("dDfF"), whole=False)  # Java's literals
        case "boolean" if isinstance(value, str):
            return {"true": True, "false": False, "": False}.get(value, value)
    return value


def _number(value: str | float, *, whole: bool) -> Any:
    if value == "":
        return None
    try:
        number = Decimal(value)
        return int(number) if whole else float(number)  # what is behind the point is cut off
    except (InvalidOperation, ValueError, OverflowError):
        return value
