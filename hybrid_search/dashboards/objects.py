"""Makes saved objects of OpenSearch Dashboards, the fields of their index patterns, and searches for typed texts. Pure.

Much of an object is JSON inside strings (``visState``, ``panelsJSON``, ``searchSourceJSON``, a Vega specification).
Other objects are referred to by names that are resolved in ``references``.

Dashboards inserts a typed text into a search as a ``query_string`` clause, and nowhere else. Here that clause is the
BM25 leg of a hybrid query; a request processor of the search's own pipeline reads the text from it, has the query
tower encode it, and writes the vector into the k-NN leg. It also removes a ``min_score`` that no document reaches, so
that a search whose text was not encoded (nothing was typed, or the tower is gone) finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hybrid_search import mappings
from hybrid_search.engines.opensearch.index import Companion
from hybrid_search.settings.index import FieldType

__all__ = [
    "DEFAULT_FIELD",
    "HIDDEN_IN_DISCOVER",
    "Panel",
    "SavedObject",
    "Typed",
    "companion_fields",
    "dashboard",
    "document_fields",
    "index_pattern",
    "ndjson",
    "saved_search",
    "vega",
    "visualisation",
]


Kind = Literal["index-pattern", "search", "visualization", "dashboard"]

# Format version of each type. Dashboards refuses formats newer than itself, and converts older ones.
_FORMATS: Mapping[Kind, str] = {
    "index-pattern": "7.6.0",
    "search": "7.9.3",
    "visualization": "7.10.0",
    "dashboard": "7.9.3",
}
_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
_LANGUAGE = "lucene"


@dataclass(frozen=True, slots=True)
class SavedObject:
    """One saved object.

    :ivar references: name of the reference -> the object referred to.
    """

    type: Kind
    id: str
    attributes: Mapping[str, Any]
    references: Mapping[str, SavedObject]

    @property
    def title(self) -> str:
        """The object's title."""
        return str(self.attributes["title"])

    def as_json(self) -> dict[str, Any]:
        """Return the object in the form of a line of the import file."""
        return {
            "type": self.type,
            "id": self.id,
            "attributes": dict(self.attributes),
            "references": [
                {"name": name, "type": target.type, "id": target.id} for name, target in self.references.items()
            ],
            "migrationVersion": {self.type: _FORMATS[self.type]},
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """An object with its position and size on a dashboard, in cells; a dashboard has 48 columns."""

    shown: SavedObject
    x: int
    y: int
    width: int
    height: int


def index_pattern(
    id: str, index: str, time: str | None = None, *, fields: Sequence[Mapping[str, Any]], hidden: Sequence[str] = ()
) -> SavedObject:
    """Make an index pattern of one index.

    :param time: the field for the time picker.
    :param fields: of :func:`document_fields` or :func:`companion_fields`. Without them, each panel would read the
        mapping when first opened and write the pattern, all at the same time, with version conflicts.
    :param hidden: fields that Discover does not show in its rows.
    """
    attributes: dict[str, Any] = {"title": index, "fields": _text(list(fields))}
    if time is not None:
        attributes["timeFieldName"] = time
    if hidden:
        attributes["sourceFilters"] = _text([{"value": name} for name in hidden])
    return SavedObject("index-pattern", id, attributes, {})


def saved_search(
    id: str, title: str, pattern: SavedObject, *, query: str, columns: Sequence[str], newest_first: bool = True
) -> SavedObject:
    """Make a saved search.

    :param query: in Lucene's query language.
    """
    attributes = {
        "title": title,
        "description": "",
        "hits": 0,
        "columns": list(columns),
        "sort": [["time", "desc"]] if newest_first else [],
        "version": 1,
        "kibanaSavedObjectMeta": _source(query, indexed=True),
    }
    return SavedObject("search", id, attributes, {_INDEX: pattern})


def visualisation(
    id: str, title: str, state: Mapping[str, Any], pattern: SavedObject | None = None, *, description: str = ""
) -> SavedObject:
    """Make a visualisation.

    :param state: type, parameters and aggregations.
    :param pattern: of the index that is aggregated; None without aggregations.
    """
    attributes = {
        "title": title,
        "description": description,
        "visState": _text({"title": title, **state}),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _source("", indexed=pattern is not None),
    }
    return SavedObject("visualization", id, attributes, {} if pattern is None else {_INDEX: pattern})


def vega(id: str, title: str, specification: Mapping[str, Any], *, description: str = "") -> SavedObject:
    """Make a visualisation of a Vega or Vega-Lite specification, which names its indexes itself."""
    spec = msgspec.json.format(msgspec.json.encode(specification), indent=2).decode()
    return visualisation(id, title, {"type": "vega", "params": {"spec": spec}, "aggs": []}, description=description)


def dashboard(id: str, title: str, panels: Sequence[Panel], *, since: str, description: str = "") -> SavedObject:
    """Make a dashboard.

    :param since: beginning of its time range, such as ``now-30d``; it ends now.
    """
    placed = [
        {
            "version": "2.11.0",
            "panelIndex": str(number),
            "gridData": {"x": panel.x, "y": panel.y, "w": panel.width, "h": panel.height, "i": str(number)},
            "embeddableConfig": {},
            "panelRefName": f"panel_{number}",
        }
        for number, panel in enumerate(panels)
    ]
    attributes = {
        "title": title,
        "description": description,
        "hits": 0,
        "panelsJSON": _text(placed),
        "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
        "version": 1,
        "timeRestore": True,
        "timeFrom": since,
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "kibanaSavedObjectMeta": _source("", indexed=False),
    }
    return SavedObject(
        "dashboard", id, attributes, {f"panel_{number}": panel.shown for number, panel in enumerate(panels)}
    )


def ndjson(objects: Iterable[SavedObject]) -> bytes:
    """Return the content of the import file: one object a line."""
    return b"".join(msgspec.json.encode(one.as_json()) + b"\n" for one in objects)


def _source(query: str, *, indexed: bool) -> dict[str, str]:
    source: dict[str, Any] = {"query": {"query": query, "language": _LANGUAGE}, "filter": []}
    return {"searchSourceJSON": _text(source | ({"indexRefName": _INDEX} if indexed else {}))}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


HIDDEN_IN_DISCOVER = ("vector", "added")
"""Fields that would clutter the rows: hundreds of numbers, and a time in nanoseconds as a number of 19 digits."""

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
"""Type in a mapping -> type in Dashboards; other types, such as vectors, are ``unknown``."""

Field = dict[str, Any]


def companion_fields(kind: Companion) -> list[Field]:
    """Return the fields of a companion index."""
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


DEFAULT_FIELD = {"index.query.default_field": "searchable"}
"""Index setting: a typed word without a field is searched in the field that ``match`` uses, not in every field."""

Processors = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """Parameters of the searches for a typed text.

    :ivar model: id of the query tower in the cluster.
    :ivar dimension: of its vectors.
    :ivar window: number of documents that each leg contributes.
    :ivar fusions: ranking (``bm25``, ``hybrid``, ``knn``) -> the search pipeline that fuses; for a single leg, with all
        weight on it.
    """

    model: str
    dimension: int
    window: int
    fusions: Mapping[str, Processors]

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Return ranking -> body of its search."""
        return {
            name: mappings.render(
                "dashboards/typed_search",
                model=self.model,
                # A placeholder until the processor has run; a zero vector would be refused.
                vector=[1.0] * self.dimension,
                window=self.window,
                fusion=fusion["phase_results_processors"],
            )
            for name, fusion in self.fusions.items()
        }
