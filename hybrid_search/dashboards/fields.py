"""The fields of an index pattern, as Dashboards would read them from the mapping. Layer 2, pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mappings
from hybrid_search.companions import Companion
from hybrid_search.config import FieldType

__all__ = ["HIDDEN_IN_DISCOVER", "companion_fields", "document_fields"]

HIDDEN_IN_DISCOVER = ("vector", "added")
"""Hundreds of numbers, and a moment in nanoseconds that Dashboards shows as a number of 19 digits."""

_KINDS: Mapping[str, str] = {
    "boolean": "boolean",
    "date": "date",
    "double": "number",
    "float": "number",
    "integer": "number",
    "keyword": "string",
    "long": "number",
    "text": "string",
}
"""Type in a mapping -> type in Dashboards; any other is ``unknown`` there, as vectors are."""

Field = dict[str, Any]


def companion_fields(kind: Companion) -> list[Field]:
    """Return the fields of an index beside an index."""
    return [*_of_every_index(), *_fields(mappings.render(f"index/{kind}")["mappings"]["properties"])]


def document_fields(metadata: Mapping[str, FieldType]) -> list[Field]:
    """Return the fields of an index of documents.

    :param metadata: path of a metadata field in the mapping -> its type.
    """
    template = "index/passages"
    filled = mappings.render(template, **{name: {} for name in mappings.parameters_of(template)})
    own = filled["mappings"]["properties"] | {"vector": {"type": "knn_vector"}}
    del own["metadata"]
    return [*_of_every_index(), *_fields(own), *_fields({path: {"type": kind} for path, kind in metadata.items()})]


def _of_every_index() -> Iterator[Field]:
    yield _field("_id", "string", "_id", searchable=True, aggregatable=True)
    yield _field("_index", "string", "_index", searchable=True, aggregatable=True)
    yield _field("_score", "number", None, searchable=False, aggregatable=False)
    yield _field("_source", "_source", "_source", searchable=False, aggregatable=False)


def _fields(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[Field]:
    for name, mapping in properties.items():
        kind, searched = mapping["type"], mapping.get("index", True)
        in_columns = mapping.get("doc_values", kind != "text") and kind in _KINDS
        yield _field(name, _KINDS.get(kind, "unknown"), kind, searchable=searched, aggregatable=in_columns)


def _field(name: str, kind: str, mapped: str | None, *, searchable: bool, aggregatable: bool) -> Field:
    field: Field = {
        "name": name,
        "type": kind,
        "count": 0,
        "scripted": False,
        "searchable": searchable,
        "aggregatable": aggregatable,
        "readFromDocValues": aggregatable and not name.startswith("_"),
    }
    return field if mapped is None else field | {"esTypes": [mapped]}
