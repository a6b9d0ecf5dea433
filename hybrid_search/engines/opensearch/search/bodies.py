"""The bodies of all searches. Pure: settings and arguments in, JSON objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mappings
from hybrid_search.engines.opensearch.index.template import SPACES
from hybrid_search.engines.opensearch.search.filter_queries import filter_query
from hybrid_search.filters import Filter
from hybrid_search.fusion import bm25_alone
from hybrid_search.settings.index import Combination, Fusion, Normalisation, Similarity
from hybrid_search.settings.server import IN_QUERY, INDEX_DEFAULT, INLINE

__all__ = [
    "IN_ORDER",
    "Body",
    "DenseQuery",
    "EncodedThere",
    "Hybrid",
    "HybridQuery",
    "Words",
    "dense",
    "documents_page",
    "exact_dense",
    "fusion_in_query",
    "fusion_pipeline",
    "lexical",
]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodedThere:
    """A text that the server encodes.

    :ivar model: the query tower's, in ml-commons; empty where the search pipeline names it.
    """

    text: str
    model: str = ""


DenseQuery = Sequence[float] | EncodedThere
"""What the k-NN leg is asked: a vector, or a text that the server makes one of."""

Words = str | Mapping[str, int]
"""What BM25 is asked: a text, or the different words of a long one and how often each stands in it."""

HybridQuery = tuple[Words, DenseQuery | None]
"""A text for BM25, and what the k-NN leg is asked; None for a zero vector."""

_COMBINATIONS: Mapping[Combination, str] = {
    "arithmetic": "arithmetic_mean",
    "geometric": "geometric_mean",
    "harmonic": "harmonic_mean",
}

IN_ORDER: list[Body] = [{"_score": "desc"}, {"id": "asc"}]
"""The ranking order used everywhere; a hybrid query can't be given it."""

_NOTHING: Body = {"match_none": {}}

_LEAST_NEIGHBOURS = 100
"""A graph that is asked for few neighbours walks too little of itself to find the right ones."""

# Reading stored fields means unpacking whole documents: for a window of 200 hits that takes four times as long as the
# search itself, and an index of one shard reads them for a hybrid's whole window. Ids come from columns instead, and
# the texts of the few hits that are shown are fetched afterwards;
# the number of a document's last change tells whether it was replaced in between.
_IDS_ONLY: Mapping[str, Any] = {
    "_source": False,
    "stored_fields": "_none_",
    "docvalue_fields": ["id"],
    "seq_no_primary_term": True,
    "track_total_hits": False,
}


def lexical(text: Words, size: int, filter: Filter | None = None) -> Body:
    """The BM25 leg, alone and in the ranking order."""
    query = _filtered(_match(text), filter)
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def dense(asked: DenseQuery, size: int, filter: Filter | None = None) -> Body:
    """The k-NN leg, alone and in the ranking order."""
    query = _nearest(asked, max(size, _LEAST_NEIGHBOURS), filter)
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


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Hybrid queries that share a fusion and a filter.

    :ivar filter_in_hybrid: the server takes one filter for all legs; otherwise each leg gets it.
    :ivar through: how the server learns the fusion: :data:`INLINE`, :data:`INDEX_DEFAULT`, :data:`IN_QUERY`, or the
        name of a stored pipeline.
    """

    fusion: Fusion
    filter: Filter | None = None
    filter_in_hybrid: bool = True
    through: str = INLINE

    def body(self, query: HybridQuery, size: int) -> Body:
        """Both legs, fused by the server.

        A query without a vector leaves the k-NN leg empty, and is fused as :meth:`fusion_of` says. No stored pipeline
        has the weights for that, so those queries bring their own. A leg of weight 0 is left empty too: the server
        would take its documents, with a score of 0.
        """
        text, asked = query
        fusion = self.fusion_of(query)
        through = INLINE if asked is None and self.through != IN_QUERY else self.through
        inside = None if self.filter_in_hybrid else self.filter
        knn = _NOTHING if asked is None or not fusion.weights[1] else _nearest(asked, fusion.window, inside)
        bm25 = _filtered(_match(text), inside) if fusion.weights[0] else _NOTHING
        hybrid: Body = {"queries": [bm25, knn]}
        if through == IN_QUERY:
            hybrid["fusion"] = fusion_in_query(fusion)
        else:
            hybrid["pagination_depth"] = fusion.window
        if self.filter is not None and self.filter_in_hybrid:
            hybrid["filter"] = filter_query(self.filter)
        body: Body = {"query": {"hybrid": hybrid}, "size": size, **_IDS_ONLY}
        if through == INLINE:
            body["search_pipeline"] = fusion_pipeline(fusion)
        elif through not in (INDEX_DEFAULT, IN_QUERY):
            body["search_pipeline"] = through
        return body

    def legs(self, query: HybridQuery) -> list[Body]:
        """The legs as the hybrid query runs them, each alone; the k-NN leg only where there is a vector."""
        text, asked = query
        queries = [_filtered(_match(text), self.filter) if self.fusion_of(query).weights[0] else _NOTHING]
        if asked is not None and self.fusion.weights[1]:
            queries.append(_nearest(asked, self.fusion.window, self.filter))
        return [{"query": query, "size": self.fusion.window, **_IDS_ONLY} for query in queries]

    def bodies(self, query: HybridQuery, size: int, *, explained: bool) -> list[Body]:
        """The hybrid query, and its legs beside it if its hits are to say what each contributed."""
        return [self.body(query, size), *(self.legs(query) if explained else ())]

    def fusion_of(self, query: HybridQuery) -> Fusion:
        """Return how a query is fused: one without a vector by BM25 alone."""
        return self.fusion if query[1] is not None else bm25_alone(self.fusion)


@lru_cache(maxsize=64)
def fusion_pipeline(fusion: Fusion) -> Body:
    """The search pipeline that computes a fusion; the same object each time, not to be changed."""
    weights = list(fusion.weights)
    if fusion.method == "rrf":
        return mappings.render("pipelines/rank_based", rank_constant=fusion.rank_constant, weights=weights)
    return mappings.render(
        "pipelines/score_based",
        normalisation=_normalisation(fusion.method),
        combination=_COMBINATIONS[fusion.combination],
        weights=weights,
    )


def fusion_in_query(fusion: Fusion) -> Body:
    """The part of a hybrid query that fuses without a pipeline (3.10 and newer, where the cluster allows it)."""
    weights = list(fusion.weights)
    if fusion.method == "rrf":
        return mappings.render(
            "fusion/rank_based", window=fusion.window, rank_constant=fusion.rank_constant, weights=weights
        )
    return mappings.render(
        "fusion/score_based",
        window=fusion.window,
        normalisation=_normalisation(fusion.method),
        combination=_COMBINATIONS[fusion.combination],
        weights=weights,
    )


def _normalisation(method: Normalisation) -> Body:
    """The server's name and parameters for a method; the bounds are of the queries in their order."""
    if method == "min_max_from_zero":
        bounds = [{"mode": "apply", "min_score": 0.0}, {"mode": "ignore"}]
        return {"technique": "min_max", "parameters": {"lower_bounds": bounds}}
    return {"technique": method}


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


def _match(asked: Words) -> Body:
    if isinstance(asked, str):
        return {"match": {"searchable": {"query": _in_json(asked)}}}
    # What a server makes of a repeated word itself: one whose weight is the sum.
    each = [{"match": {"searchable": {"query": word, "boost": float(times)}}} for word, times in asked.items()]
    return {"bool": {"should": each}}


def _nearest(asked: DenseQuery, k: int, filter: Filter | None) -> Body:
    limits: Body = {"k": k} if filter is None else {"k": k, "filter": filter_query(filter)}
    if isinstance(asked, EncodedThere):
        model = {"model_id": asked.model} if asked.model else {}
        return {"neural": {"vector": {"query_text": _in_json(asked.text), **model, **limits}}}
    return {"knn": {"vector": {"vector": list(asked), **limits}}}


def _in_json(text: str) -> str:
    # A lone surrogate has no place in JSON; whatever stands for it separates words.
    return text.encode("utf-8", "replace").decode()


def _filtered(query: Body, filter: Filter | None) -> Body:
    return query if filter is None else {"bool": {"must": [query], "filter": [filter_query(filter)]}}
