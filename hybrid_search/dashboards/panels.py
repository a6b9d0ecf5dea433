"""Makes the panels of the dashboard from templates and the names of the indexes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hybrid_search import mappings
from hybrid_search.dashboards.objects import (
    HIDDEN_IN_DISCOVER,
    SavedObject,
    Typed,
    companion_fields,
    document_fields,
    index_pattern,
    saved_search,
    vega,
    visualisation,
)
from hybrid_search.engines.opensearch.index import Companion, companion_index
from hybrid_search.settings.index import FieldType

__all__ = ["MOST_FIELDS", "Panels", "Shown"]

MOST_FIELDS = 6
"""Most metadata fields with a panel: the first by name of those whose values are not mostly unique."""


_FILLED_BY: Mapping[str, str] = {
    "queries": "hybrid-search query ... --log-queries, or a longer time range",
    "evaluations": "hybrid-search evaluate ... --store",
    "statistics": "hybrid-search dashboards measure",
}
"""Companion index -> the command that fills it, for panels without data."""

_BUCKET = ("key", "key_as_string", "min", "max", "doc_count")
"""The possible keys of a bucket, besides sub-aggregations."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The index that a pack shows.

    :ivar name: of the index or alias.
    :ivar fields: path of a metadata field in the mapping -> its type.
    :ivar typed: parameters of the panel of typed queries; None without towers in the cluster.
    :ivar unique: paths of fields with mostly unique values, which get no panel.
    """

    name: str
    fields: Mapping[str, FieldType]
    typed: Typed | None = None
    unique: Collection[str] = ()

    def id(self, part: str) -> str:
        """Return the id of an object: the same in each pack of this index, so that importing again replaces it."""
        return f"hybrid-search-{self.name}-{part}"


class Panels:
    """Makes the objects of a pack.

    :ivar documents: the index pattern of the passages; ``queries``, ``evaluations`` and ``statistics`` likewise.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self.documents = index_pattern(
            shown.id("documents"), shown.name, fields=document_fields(shown.fields), hidden=HIDDEN_IN_DISCOVER
        )
        self.queries = self._companion("queries")
        self.evaluations = self._companion("evaluations")
        self.statistics = self._companion("statistics")

    @property
    def patterns(self) -> tuple[SavedObject, ...]:
        """All index patterns."""
        return self.documents, self.queries, self.evaluations, self.statistics

    def about(self) -> SavedObject:
        """Explain what the dashboard shows, and which commands provide the data."""
        name = self._shown.name
        text = (
            f"**{name}**: its documents, and the queries and evaluations of hybrid-search.\n\n"
            f"- Queries are there once somebody asks with `hybrid-search query … --log-queries`, or "
            f'`SearchOptions(log_queries="text")` in Python.\n'
            f"- Lengths, vocabulary and vectors are those of a sample: `hybrid-search dashboards measure`.\n"
            f"- Evaluations: `hybrid-search evaluate … --store`.\n"
        )
        state = {
            "type": "markdown",
            "params": {"fontSize": 12, "openLinksInNewTab": False, "markdown": text},
            "aggs": [],
        }
        return visualisation(self._shown.id("about"), f"{name}: about this dashboard", state)

    def count(self) -> SavedObject:
        """Show the number of documents."""
        style = {"bgColor": False, "bgFill": "#000", "fontSize": 44, "labelColor": False, "subText": ""}
        metric = {
            "colorSchema": "Green to Red",
            "colorsRange": [{"from": 0, "to": 10_000}],
            "invertColors": False,
            "labels": {"show": True},
            "metricColorMode": "None",
            "percentageMode": False,
            "style": style,
            "useRanges": False,
        }
        state = {
            "type": "metric",
            "params": {"addLegend": False, "addTooltip": True, "metric": metric, "type": "metric"},
            "aggs": [_aggregation("1", "count", "metric", {"customLabel": "documents"})],
        }
        return visualisation(self._shown.id("count"), f"{self._shown.name}: number of documents", state, self.documents)

    def most_asked(self) -> SavedObject:
        """List the most frequent queries; empty for a hashed log."""
        by_count = {"field": "text", "order": "desc", "orderBy": "1", "size": 20, "customLabel": "query"}
        other = {
            "otherBucket": False,
            "otherBucketLabel": "Other",
            "missingBucket": False,
            "missingBucketLabel": "Missing",
        }
        table = {"perPage": 10, "showMetricsAtAllLevels": False, "showPartialRows": False, "showTotal": False}
        state = {
            "type": "table",
            "params": {**table, "sort": {"columnIndex": None, "direction": None}, "totalFunc": "sum"},
            "aggs": [
                _aggregation("1", "count", "metric", {"customLabel": "times asked"}),
                _aggregation("2", "avg", "metric", {"field": "overlap_bm25_knn", "customLabel": "BM25 and k-NN share"}),
                _aggregation("3", "terms", "bucket", by_count | other),
            ],
        }
        return visualisation(self._shown.id("most-asked"), f"{self._shown.name}: most asked", state, self.queries)

    def fields(self) -> Iterator[SavedObject]:
        """Show the distribution of documents over each metadata field."""
        shared = [one for one in sorted(self._shown.fields.items()) if one[0] not in self._shown.unique]
        for path, kind in shared[:MOST_FIELDS]:
            name = path.removeprefix("metadata.")
            id, title = f"field-{name}", f"documents by {name}"
            if kind in ("keyword", "boolean"):
                yield self._vega(id, title, "values", self._shown.name, field=path)
            elif kind == "date":
                yield self._vega(id, title, "dates", self._shown.name, field=path, axis=name)
            else:
                yield self._vega(id, title, "numbers", self._shown.name, field=path, axis=name)

    def of_statistics(self) -> tuple[SavedObject, SavedObject, SavedObject]:
        """Show lengths, vocabulary and vectors of a sample of the documents."""
        index = self.statistics.title
        return (
            self._vega("lengths", "length of documents", "lengths", index),
            self._vega("vocabulary", "share of words out of vocabulary", "vocabulary", index),
            self._vega("norms", "norms of vectors", "norms", index),
        )

    def of_queries(self) -> tuple[SavedObject, SavedObject, SavedObject, SavedObject]:
        """Show what queries found, their latency, and how far the rankings agree."""
        index = self.queries.title
        return (
            self._vega("outcomes", "queries by what they found", "outcomes", index),
            self._vega("latency", "latency", "latency", index),
            self._vega("overlap", "overlap of the rankings over time", "overlap", index),
            self._vega("agreement", "overlap of BM25 and k-NN", "agreement", index),
        )

    def of_evaluations(self) -> tuple[SavedObject, SavedObject]:
        """Show evaluations over time, and the systems' differences to BM25."""
        index = self.evaluations.title
        return (
            self._vega("evaluations", "quality over time", "evaluations", index),
            self._vega("differences", "difference to BM25 over time", "differences", index),
        )

    def rankings(self) -> SavedObject:
        """Compare the three rankings of a logged query, selected by typing some of its words."""
        own = mappings.render("dashboards/logged", index=self.queries.title)
        return self._side_by_side("rankings", "rankings of a logged query", own)

    def typed(self, typed: Typed) -> SavedObject:
        """Compare the three rankings of a text typed into the query bar."""
        own = mappings.render("dashboards/typed", index=self._shown.name, **typed.bodies())
        return self._side_by_side("typed", "rankings of a typed query", own)

    def _side_by_side(self, part: str, title: str, own: Mapping[str, Any]) -> SavedObject:
        shared = mappings.render("dashboards/links")
        # Dashboards sizes a panel before it adds the text box, so the panel adapts to the remaining size itself.
        signals, data = [*shared["signals"], *own["signals"]], [*own["data"], *shared["data"]]
        specification = mappings.render("dashboards/rankings", signals=signals, data=data)
        return vega(self._shown.id(part), f"{self._shown.name}: {title}", specification)

    def searches(self) -> tuple[SavedObject, SavedObject, SavedObject, SavedObject]:
        """Make saved searches: all queries; those without results; without results of BM25; whose legs disagree."""
        about_legs = ["text", "bm25_hits", "overlap_bm25_knn", "top_bm25", "top_knn"]
        return (
            self._search("all-queries", "all queries", "", ["text", "mode", "hits", "client_ms", "overlap_bm25_knn"]),
            self._search("zero-results", "queries without results", "zero_results:true", ["text", "mode", "filtered"]),
            self._search("bm25-nothing", "queries that only k-NN answers", "bm25_hits:0", ["text", "top_knn"]),
            self._search(
                "low-overlap",
                "queries whose rankings disagree",
                "overlap_bm25_knn:[0 TO 1] AND bm25_hits:>0",
                about_legs,
            ),
        )

    def texts(self) -> SavedObject:
        """Make the saved search that lists the documents."""
        columns = ["id", "title", "text", *sorted(self._shown.fields)[:MOST_FIELDS]]
        return saved_search(
            self._shown.id("texts"), f"{self._shown.name}: texts of documents", self.documents,
            query="", columns=columns, newest_first=False,
        )  # fmt: skip

    def _companion(self, kind: Companion) -> SavedObject:
        name = companion_index(self._shown.name, kind)
        return index_pattern(self._shown.id(kind), name, "time", fields=companion_fields(kind))

    def _search(self, part: str, title: str, query: str, columns: list[str]) -> SavedObject:
        full = f"{self._shown.name}: {title}"
        return saved_search(self._shown.id(part), full, self.queries, query=query, columns=columns)

    def _vega(self, part: str, title: str, template: str, index: str, **parameters: Any) -> SavedObject:
        specification = mappings.render(f"dashboards/{template}", index=index, **parameters)
        # An empty panel looks broken, so it names the command that provides its data.
        specification["data"]["name"] = "found"
        has_data = _unpack_buckets(specification) or "data('found').length"
        empty = f"Nothing here yet: {_FILLED_BY.get(index.removeprefix(f'{self._shown.name}-'), 'load documents')}"
        text = {"expr": f"{has_data} ? '' : '{empty}'"}
        specification["title"] = {"text": text, "anchor": "start", "fontWeight": "normal"}
        return vega(self._shown.id(part), f"{self._shown.name}: {title}", specification)


def _unpack_buckets(specification: dict[str, Any]) -> str:
    """Make a panel extract the buckets of the answer itself, as Dashboards fails on answers without aggregations.

    The answer has none if the index is missing.

    :return: an expression that is true if there are buckets; empty for a panel of hits, which every answer has.
    """
    path = specification["data"]["format"]["property"]
    if not path.startswith("aggregations."):
        return ""
    del specification["data"]["format"]
    names, aggregation = path.split(".")[1:-1], specification["data"]["url"]["body"]
    for name in names:
        aggregation = aggregation["aggs"][name]
    columns = [*_BUCKET, *aggregation.get("aggs", {})]
    specification["transform"] = [
        {"calculate": f"datum.aggregations ? datum.{path} : []", "as": "bucket"},
        {"flatten": ["bucket"]},
        *({"calculate": f"datum.bucket.{name}", "as": name} for name in columns),
        *specification.get("transform", ()),
    ]
    answer = "data('found')[0]"
    return f"length(data('found')) && {answer}.aggregations && length({answer}.{path})"


def _aggregation(id: str, kind: str, schema: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": id, "enabled": True, "type": kind, "schema": schema, "params": dict(parameters)}
