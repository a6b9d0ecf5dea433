"""The bodies of all searches. Pure: settings and arguments in, JSON objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hybrid_search import mappings
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
    "Verbatim",
    "Words",
    "dense",
    "documents_page",
    "exact_dense",
    "fusion_in_query",
    "fusion_pipeline",
    "lexical",
    "matching",
]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodedThere:
    """A text that the server is to encode.

    :ivar model: id of the query tower in ml-commons; empty if the search pipeline names it.
    """

    text: str
    model: str = ""


DenseQuery = Sequence[float] | EncodedThere
"""The query of the k-NN leg: a vector, or a text that the server encodes."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Words that all count, function words too, which the field's search analyzer would leave out.

    :ivar analyzer: the index's own.
    """

    words: str | Mapping[str, int]
    analyzer: str


Words = str | Mapping[str, int] | Verbatim
"""The query of BM25: a text, or the distinct words of a long one with their numbers of occurrences."""

HybridQuery = tuple[Words, DenseQuery | None]
"""The queries of BM25 and of the k-NN leg; None for a zero vector."""

_COMBINATIONS: Mapping[Combination, str] = {
    "arithmetic": "arithmetic_mean",
    "geometric": "geometric_mean",
    "harmonic": "harmonic_mean",
}

IN_ORDER: list[Body] = [{"_score": "desc"}, {"id": "asc"}]
"""The common ranking order; not available for a hybrid query."""

_NOTHING: Body = {"match_none": {}}

_LEAST_NEIGHBOURS = 100
"""With a smaller k, a graph search visits too few nodes to find the nearest neighbours."""

# Reading stored fields decompresses whole documents: for a window of 200 hits that takes four times as long as the
# search itself, and an index of one shard would do it for a hybrid query's whole window. So ids are read from columns,
# and the texts of the few hits on the page are fetched afterwards. A document's sequence number shows whether it was
# replaced in between.
_IDS_ONLY: Mapping[str, Any] = {
    "_source": False,
    "stored_fields": "_none_",
    "docvalue_fields": ["id"],
    "seq_no_primary_term": True,
    "track_total_hits": False,
}


def lexical(text: Words, size: int, filter: Filter | None = None) -> Body:
    """Return the BM25 leg as a search of its own, in ranking order."""
    query = _filtered(_match(text), filter)
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def dense(dense_query: DenseQuery, size: int, filter: Filter | None = None) -> Body:
    """Return the k-NN leg as a search of its own, in ranking order."""
    query = _nearest(dense_query, max(size, _LEAST_NEIGHBOURS), filter)
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


def exact_dense(vector: Sequence[float], size: int, similarity: Similarity, filter: Filter | None = None) -> Body:
    """Return an exact k-NN search, which compares with every vector; scores have the scale of the k-NN leg."""
    script = {
        "lang": "knn",
        "source": "knn_score",
        "params": {"field": "vector", "query_value": list(vector), "space_type": SPACES[similarity]},
    }
    query = {"script_score": {"query": _filtered({"exists": {"field": "vector"}}, filter), "script": script}}
    return {"query": query, "size": size, "sort": IN_ORDER, **_IDS_ONLY}


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Hybrid queries with a common fusion and filter.

    :ivar filter_in_hybrid: the server takes one filter for all legs; otherwise each leg gets it.
    :ivar through: how the server gets the fusion: :data:`INLINE`, :data:`INDEX_DEFAULT`, :data:`IN_QUERY`, or the
        name of a stored pipeline.
    :ivar least: the least score that counts, of each leg; None for any.
    """

    fusion: Fusion
    filter: Filter | None = None
    filter_in_hybrid: bool = True
    through: str = INLINE
    least: tuple[float | None, float | None] = (None, None)

    @property
    def _is_filtered_outside(self) -> bool:
        # A k-NN query inside another one is only reached by a filter of its own.
        return self.filter_in_hybrid and self.least == (None, None)

    def body(self, query: HybridQuery, size: int) -> Body:
        """Return a search with both legs, which the server fuses.

        Without a vector the k-NN leg is empty, and :meth:`fusion_of` says how it is fused. As no stored pipeline has
        its weights, such queries carry their own. A leg with weight 0 is empty, too: otherwise the server would return
        its documents with a score of 0.
        """
        text, dense = query
        fusion = self.fusion_of(query)
        through = INLINE if dense is None and self.through != IN_QUERY else self.through
        inside = None if self._is_filtered_outside else self.filter
        knn, bm25 = _NOTHING, _NOTHING
        if dense is not None and fusion.weights[1]:
            knn = _at_least(_nearest(dense, fusion.window, inside), self.least[1])
        if fusion.weights[0]:
            bm25 = _at_least(_filtered(_match(text), inside), self.least[0])
        hybrid: Body = {"queries": [bm25, knn]}
        if through == IN_QUERY:
            hybrid["fusion"] = fusion_in_query(fusion)
        else:
            hybrid["pagination_depth"] = fusion.window
        if self.filter is not None and self._is_filtered_outside:
            hybrid["filter"] = filter_query(self.filter)
        body: Body = {"query": {"hybrid": hybrid}, "size": size, **_IDS_ONLY}
        if through == INLINE:
            body["search_pipeline"] = fusion_pipeline(fusion)
        elif through not in (INDEX_DEFAULT, IN_QUERY):
            body["search_pipeline"] = through
        return body

    def legs(self, query: HybridQuery) -> list[Body]:
        """Return each leg of the hybrid query as a search of its own; the k-NN leg only if there is a vector."""
        text, dense = query
        lexical = _at_least(_filtered(_match(text), self.filter), self.least[0])
        queries = [lexical if self.fusion_of(query).weights[0] else _NOTHING]
        if dense is not None and self.fusion.weights[1]:
            queries.append(_at_least(_nearest(dense, self.fusion.window, self.filter), self.least[1]))
        return [{"query": query, "size": self.fusion.window, **_IDS_ONLY} for query in queries]

    def bodies(self, query: HybridQuery, size: int, *, explained: bool) -> list[Body]:
        """Return the hybrid query, followed by its legs if ``explained``, to compute what each contributed."""
        return [self.body(query, size), *(self.legs(query) if explained else ())]

    def fusion_of(self, query: HybridQuery) -> Fusion:
        """Return the fusion of a query; BM25 alone if it has no vector."""
        return self.fusion if query[1] is not None else bm25_alone(self.fusion)


@lru_cache(maxsize=64)
def fusion_pipeline(fusion: Fusion) -> Body:
    """Return the search pipeline that computes a fusion; a cached object, which must not be changed."""
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
    """Return the part of a hybrid query that fuses without a pipeline (from 3.10, if the cluster setting allows it)."""
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
    """Return the server's name and parameters for a normalisation; bounds in the order of the queries."""
    if method == "min_max_from_zero":
        bounds = [{"mode": "apply", "min_score": 0.0}, {"mode": "ignore"}]
        return {"technique": "min_max", "parameters": {"lower_bounds": bounds}}
    return {"technique": method}


def documents_page(point_in_time: str, size: int, after: Sequence[Any] | None) -> Body:
    """Return the search for one page of all documents, in the order in which they were first added.

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


def _match(words: Words) -> Body:
    by: Body = {}
    if isinstance(words, Verbatim):
        by, words = {"analyzer": words.analyzer}, words.words
    if isinstance(words, str):
        return {"match": {"searchable": {"query": _in_json(words), **by}}}
    # As a server itself handles repeated words: one word with the sum of the weights.
    each = [{"match": {"searchable": {"query": one, "boost": float(times), **by}}} for one, times in words.items()]
    return {"bool": {"should": each}}


def _nearest(query: DenseQuery, k: int, filter: Filter | None) -> Body:
    limits: Body = {"k": k} if filter is None else {"k": k, "filter": filter_query(filter)}
    if isinstance(query, EncodedThere):
        model = {"model_id": query.model} if query.model else {}
        return {"neural": {"vector": {"query_text": _in_json(query.text), **model, **limits}}}
    return {"knn": {"vector": {"vector": list(query), **limits}}}


def matching(words: Words, near: Sequence[str], filter: Filter | None, least: float | None) -> Body:
    """Return the query that matches what has one of the words, or one of some ids.

    :param least: the least BM25 score that counts; None for any.
    """
    either = [{"terms": {"id": list(near)}}] if near else []
    if words:
        either.append(_at_least(_match(words), least))
    if not either:
        return _NOTHING
    return _filtered({"bool": {"should": either, "minimum_should_match": 1}}, filter)


def _at_least(query: Body, least: float | None) -> Body:
    """Return a query that leaves out what scores less."""
    return query if least is None else {"function_score": {"query": query, "min_score": least}}


def _in_json(text: str) -> str:
    # A lone surrogate is invalid in JSON; its replacement separates words.
    return text.encode("utf-8", "replace").decode()


def _filtered(query: Body, filter: Filter | None) -> Body:
    return query if filter is None else {"bool": {"must": [query], "filter": [filter_query(filter)]}}
