"""The bodies of all searches. Pure: settings and arguments in, JSON objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mappings
from hybrid_search.config import Combination, Fusion, Normalisation, Similarity
from hybrid_search.engines.opensearch.records import metadata_path
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms

__all__ = [
    "IN_ORDER",
    "SPACES",
    "dense",
    "documents_page",
    "exact_dense",
    "filter_query",
    "fusion_pipeline",
    "hybrid",
    "legs",
    "lexical",
]

Body = dict[str, Any]

SPACES: Mapping[Similarity, str] = {"cosine": "cosinesimil", "dot": "innerproduct", "l2": "l2"}

_COMBINATIONS: Mapping[Combination, str] = {
    "arithmetic": "arithmetic_mean",
    "geometric": "geometric_mean",
    "harmonic": "harmonic_mean",
}

IN_ORDER: list[Body] = [{"_score": "desc"}, {"id": "asc"}]
"""The ranking order used everywhere; a hybrid query can't be given it."""

_LEAST_NEIGHBOURS = 100
"""A graph that is asked for few neighbours walks too little of itself to find the right ones."""

# Reading stored fields means unpacking whole documents: for a window of 200 hits that takes four times as long as the
# search itself, and an index of one shard reads them for a hybrid's whole window. Ids come from columns instead, and
# the texts of the few hits that are shown are fetched afterwards.
_IDS_ONLY: Mapping[str, Any] = {
    "_source": False,
    "stored_fields": "_none_",
    "docvalue_fields": ["id"],
    "track_total_hits": False,
}


def lexical(text: str, size: int, filter: Filter | None = None) -> Body:
    """The BM25 leg, alone and in the ranking order."""
    query = _filtered(_match(text), filter)
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def dense(vector: Sequence[float], size: int, filter: Filter | None = None) -> Body:
    """The k-NN leg, alone and in the ranking order."""
    query = _knn(vector, max(size, _LEAST_NEIGHBOURS), filter)
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def exact_dense(vector: Sequence[float], size: int, similarity: Similarity, filter: Filter | None = None) -> Body:
    """The true nearest neighbours, by comparing with every vector; scores in the scale of the k-NN leg."""
    script = {
        "lang": "knn",
        "source": "knn_score",
        "params": {"field": "vector", "query_value": list(vector), "space_type": SPACES[similarity]},
    }
    query = {"script_score": {"query": _filtered({"exists": {"field": "vector"}}, filter), "script": script}}
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def hybrid(
    text: str,
    vector: Sequence[float] | None,
    size: int,
    fusion: Fusion,
    *,
    filter: Filter | None = None,
    filter_in_hybrid: bool = True,
) -> Body:
    """Both legs, fused by a pipeline that stands in the body.

    :param vector: None leaves the k-NN leg empty, which the arithmetic then sees.
    :param filter_in_hybrid: the server takes one filter for all legs; otherwise each leg gets it.
    """
    inside = None if filter_in_hybrid else filter
    legs: list[Body] = [_filtered(_match(text), inside)]
    legs.append({"match_none": {}} if vector is None else _knn(vector, fusion.window, inside))
    query: Body = {"queries": legs, "pagination_depth": fusion.window}
    if filter is not None and filter_in_hybrid:
        query["filter"] = filter_query(filter)
    return {
        "query": {"hybrid": query},
        "size": size,
        "search_pipeline": fusion_pipeline(fusion),
        **_IDS_ONLY,
    }


def fusion_pipeline(fusion: Fusion) -> Body:
    """The search pipeline that computes a fusion."""
    weights = list(fusion.weights)
    if fusion.method == "rrf":
        return mappings.render("pipelines/rank_based", rank_constant=fusion.rank_constant, weights=weights)
    method: Normalisation = fusion.method
    return mappings.render(
        "pipelines/score_based",
        normalisation=method,
        combination=_COMBINATIONS[fusion.combination],
        weights=weights,
    )


def documents_page(point_in_time: str, size: int, after: Sequence[Any] | None) -> Body:
    """One page of all documents, in the order of their first addition.

    :param after: the sort values of the last page's last hit.
    """
    body: Body = {
        "query": {"match_all": {}},
        "size": size,
        "sort": [{"added": "asc"}, {"id": "asc"}],
        "pit": {"id": point_in_time, "keep_alive": "5m"},
        "_source": {"excludes": ["vector", "added"]},
        "track_total_hits": False,
    }
    return body if after is None else {**body, "search_after": list(after)}


def legs(text: str, vector: Sequence[float] | None, window: int, filter: Filter | None = None) -> list[Body]:
    """The legs as a hybrid query runs them, each alone; the k-NN leg only where there is a vector."""
    queries = [_filtered(_match(text), filter)]
    if vector is not None:
        queries.append(_knn(vector, window, filter))
    return [{"query": query, "size": window, **_IDS_ONLY} for query in queries]


def filter_query(filter: Filter) -> Body:
    """Render a filter."""
    match filter:
        case And(parts):
            return {"bool": {"filter": [filter_query(part) for part in parts]}}
        case Or(parts):
            return {"bool": {"should": [filter_query(part) for part in parts], "minimum_should_match": 1}}
        case Not(part):
            return {"bool": {"must_not": [filter_query(part)]}}
        case Term(field, value):
            return {"term": {metadata_path(field): {"value": value}}}
        case Terms(field, values):
            return {"terms": {metadata_path(field): list(values)}}
        case Exists(field):
            return {"exists": {"field": metadata_path(field)}}
        case Range(field, gte, gt, lte, lt):
            bounds = {"gte": gte, "gt": gt, "lte": lte, "lt": lt}
            return {
                "range": {metadata_path(field): {name: bound for name, bound in bounds.items() if bound is not None}}
            }


def _match(text: str) -> Body:
    # A lone surrogate has no place in JSON; whatever stands for it separates words.
    return {"match": {"searchable": {"query": text.encode("utf-8", "replace").decode()}}}


def _knn(vector: Sequence[float], k: int, filter: Filter | None) -> Body:
    leg: Body = {"vector": list(vector), "k": k}
    if filter is not None:
        leg["filter"] = filter_query(filter)
    return {"knn": {"vector": leg}}


def _filtered(query: Body, filter: Filter | None) -> Body:
    return query if filter is None else {"bool": {"must": [query], "filter": [filter_query(filter)]}}
