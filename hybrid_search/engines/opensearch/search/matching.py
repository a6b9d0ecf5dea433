"""Counting what matches: bodies of searches without hits, with aggregations, and their answers as numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.engines.opensearch.index.document_json import metadata_path
from hybrid_search.engines.opensearch.search.bodies import Body
from hybrid_search.engines.opensearch.search.searcher import Counted, Searches
from hybrid_search.engines.opensearch.transport.plan import Plan
from hybrid_search.facets import Value, most_frequent, value_of
from hybrid_search.passages import OF
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Matches

__all__ = ["counted"]

_VALUES = 10_000
"""Most values of a field that are counted; beyond, the numbers are those of the most frequent ones."""

_BUCKETS = 10_000
_MOST_PAGES = 10
"""Documents of passages are counted one by one, in pages of so many; beyond, there are at least as many."""


def counted(
    searches: Searches,
    query: Body,
    facets: Sequence[str],
    most_values: int,
    fields: Mapping[str, FieldType],
    *,
    by_document: bool,
) -> Plan[Matches]:
    """Count what a query matches.

    :param by_document: count the documents that have the matching passages.
    """
    if by_document and OF in fields:
        return (yield from _documents(searches, query, facets, most_values, fields))
    aggregations = {
        f"{number}": {"terms": {"field": metadata_path(field), "size": _VALUES}} for number, field in enumerate(facets)
    }
    answer = yield from _asked(searches, query, aggregations)
    found, is_exact = {}, True
    for number, field in enumerate(facets):
        of_field = answer.aggregations.get(f"{number}", {})
        counts = {value_of(one["key"], fields[field]): int(one["doc_count"]) for one in of_field.get("buckets", ())}
        found[field] = most_frequent(counts, most_values)
        is_exact = is_exact and not of_field.get("sum_other_doc_count")
    return Matches(answer.total, found, is_exact)


def _documents(
    searches: Searches, query: Body, facets: Sequence[str], most_values: int, fields: Mapping[str, FieldType]
) -> Plan[Matches]:
    """Count documents by their passages: each pair of a document and a value is one bucket."""
    of: Body = {"of": {"terms": {"field": metadata_path(OF), "missing_bucket": True}}}
    buckets, is_exact = yield from _buckets(searches, query, [of])
    total = sum(1 if key["of"] is not None else number for key, number in buckets)
    found = {}
    for field in facets:
        sources: list[Body] = [of, {"value": {"terms": {"field": metadata_path(field)}}}]
        pairs, is_whole = yield from _buckets(searches, query, sources)
        counts: dict[Value, int] = {}
        for key, number in pairs:
            value = value_of(key["value"], fields[field])
            counts[value] = counts.get(value, 0) + (1 if key["of"] is not None else number)
        found[field] = most_frequent(counts, most_values)
        is_exact = is_exact and is_whole
    return Matches(total, found, is_exact)


def _buckets(
    searches: Searches, query: Body, sources: list[Body]
) -> Plan[tuple[list[tuple[Mapping[str, Any], int]], bool]]:
    """Return (key, number of passages) of each bucket, and whether these are all."""
    found: list[tuple[Mapping[str, Any], int]] = []
    after: Any = None
    for _ in range(_MOST_PAGES):
        composite: Body = {"size": _BUCKETS, "sources": sources}
        if after is not None:
            composite["after"] = after
        answer = yield from _asked(searches, query, {"pairs": {"composite": composite}})
        page = answer.aggregations.get("pairs", {})
        buckets = page.get("buckets", [])
        found += [(one["key"], int(one["doc_count"])) for one in buckets]
        after = page.get("after_key")
        if len(buckets) < _BUCKETS or after is None:
            return found, True
    return found, False


def _asked(searches: Searches, query: Body, aggregations: Body) -> Plan[Counted]:
    body = {"query": query, "size": 0, "track_total_hits": True, "aggs": aggregations}
    return (yield from searches.counted(body))
