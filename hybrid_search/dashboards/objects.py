"""Saved objects of OpenSearch Dashboards, the fields of their index patterns and typed searches. Pure.

Much of an object is JSON inside strings (``visState``, ``panelsJSON``, ``searchSourceJSON``, a Vega specification), and
what it refers to stands in its ``references`` by a name that the string uses.

Dashboards puts what is typed into a search's query as a ``query_string`` clause, and nowhere else. That clause is the
BM25 leg of a hybrid query here; a request processor of the search's own pipeline reads the text out of it, has the
query tower encode it, and writes the vector into the k-NN leg. It also takes away a ``min_score`` that nothing reaches,
so that a search whose text was not encoded, because nothing was typed or the tower is gone, finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

import mappings
from hybrid_search.engines.opensearch.index.side_index import Companion
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

# The formats that these objects are written in; an older Dashboards would refuse a newer one, a newer one converts.
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
    """One object.

    :ivar references: name of the reference -> the object referred to.
    """

    type: Kind
    id: str
    attributes: Mapping[str, Any]
    references: Mapping[str, SavedObject]

    @property
    def title(self) -> str:
        """What people see."""
        return str(self.attributes["title"])

    def as_json(self) -> dict[str, Any]:
        """Return the object as a line of the file holds it."""
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
    """An object's place on a dashboard, which is 48 columns wide."""

    shown: SavedObject
    x: int
    y: int
    width: int
    height: int


def index_pattern(
    id: str, index: str, time: str | None = None, *, fields: Sequence[Mapping[str, Any]], hidden: Sequence[str] = ()
) -> SavedObject:
    """Make an index pattern of one index.

    :param time: the field that the time picker filters.
    :param fields: as Dashboards keeps them (see :mod:`hybrid_search.dashboards.objects`). Without them each panel reads
        the mapping at the first opening and writes the pattern anew, all at once, most of them in vain.
    :param hidden: fields that Discover leaves out of its rows.
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
    :param pattern: of the index that the aggregations are about, where there are any.
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

    :param since: where its time range begins, as in ``now-30d``; it ends now.
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
    """Return the file that is imported: an object a line."""
    return b"".join(msgspec.json.encode(one.as_json()) + b"\n" for one in objects)


def _source(query: str, *, indexed: bool) -> dict[str, str]:
    source: dict[str, Any] = {"query": {"query": query, "language": _LANGUAGE}, "filter": []}
    return {"searchSourceJSON": _text(source | ({"indexRefName": _INDEX} if indexed else {}))}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


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


DEFAULT_FIELD = {"index.query.default_field": "searchable"}
"""The setting of the index with which a typed word is looked for where ``match`` looks for it, not in every field."""

Processors = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """What it takes to answer a typed text.

    :ivar model: the query tower in the cluster.
    :ivar dimension: of its vectors.
    :ivar window: documents that each leg contributes.
    :ivar fusions: ranking (``bm25``, ``hybrid``, ``knn``) -> the part of a search pipeline that fuses; a leg alone has
        all of the weight.
    """

    model: str
    dimension: int
    window: int
    fusions: Mapping[str, Processors]

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Return the body of a search for each ranking."""
        return {
            name: mappings.render(
                "dashboards/typed_search",
                model=self.model,
                # Takes the place of the text's own until the processor has run; a zero vector would be refused.
                vector=[1.0] * self.dimension,
                window=self.window,
                fusion=fusion["phase_results_processors"],
            )
            for name, fusion in self.fusions.items()
        }
