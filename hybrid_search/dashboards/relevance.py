"""Makes objects for OpenSearch's Search Relevance: a query set, its judgements, search configurations.

They are not saved objects but documents of the plugin, which assigns their ids; so they are written as requests for Dev
Tools. What the plugin refuses according to its source (long names, quotes and angle brackets in a query, long queries)
is left out. From 3.8 on a configuration is a Mustache template, and a query of a set may have fields of its own: the
vectors of our query tower stand there, so k-NN and hybrid need nothing in the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.index import as_decimals
from hybrid_search.protocols import Vectors
from hybrid_search.types import Judgement, Query

__all__ = ["MOST_QUERIES", "PLUGIN", "RelevanceRequest", "Templates", "console_lines", "relevance_requests"]

PLUGIN = "opensearch-search-relevance"
"""The plugin's name in ``GET _cat/plugins``."""

MOST_QUERIES = 1_000
"""Default of the server's setting ``plugins.search_relevance.query_set.maximum``."""

_LONGEST_NAME = 50
_LONGEST_QUERY = 2_000
# These are never part of a word, neither for BM25 nor for the towers, so replacing them changes no ranking.
_REFUSED = re.compile(r"""["\\<>\s]+""")

_PATH = "/_plugins/_search_relevance"
_TEXT, _TEMPLATE_TEXT = "%SearchText%", "{{queryText}}"
_VECTOR, _NUMBERS_IN_A_FIELD = '"the vector"', 100
"""A value has at most 2,000 characters, a number at most 17 with its comma."""


@dataclass(frozen=True, slots=True)
class RelevanceRequest:
    """One PUT request to the plugin."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Templates:
    """What a server of version 3.8 or later takes besides texts.

    :ivar index: the index itself: such a server refuses an alias.
    :ivar encode: encodes queries; None where the towers are not at hand.
    :ivar pipeline: the fusion as a search pipeline, for the hybrid with these vectors.
    """

    index: str
    encode: Callable[[Sequence[str]], Vectors] | None = None
    pipeline: Mapping[str, Any] | None = None


def relevance_requests(
    index: str,
    name: str,
    queries: Iterable[Query],
    judgements: Iterable[Judgement],
    *,
    pipeline: str = "",
    window: int = 200,
    templates: Templates | None = None,
) -> Iterator[RelevanceRequest]:
    """Make the requests: a query set, its judgements, and a configuration for each ranking that a text can ask for.

    Queries without judgements are left out, as nothing could be measured with them; so are queries that are too long
    for the plugin, and where vectors are sent those without a word that the towers know.

    :param name: of the query set and the judgements, such as ``nfcorpus test``.
    :param pipeline: the search pipeline of towers that are deployed in the cluster; empty for none. Without it and
        without vectors there is BM25 alone.
    :param window: number of documents that each leg contributes.
    :param templates: of a server that renders them; None for one before 3.8.
    """
    taken = ((query.id, _REFUSED.sub(" ", query.text).strip()) for query in queries)
    texts = {id: text for id, text in taken if 0 < len(text) <= _LONGEST_QUERY}
    name = _named(name)
    ratings: dict[str, list[dict[str, str]]] = {}
    for judgement in judgements:
        if judgement.query_id in texts:
            rating = {"docId": judgement.document_id, "rating": f"{judgement.grade:.1f}"}
            ratings.setdefault(texts[judgement.query_id], []).append(rating)
    of_texts, numbers = _vectors_of(list(ratings), templates.encode) if templates and templates.encode else ({}, 0)
    if numbers:
        ratings = {text: of_text for text, of_text in ratings.items() if text in of_texts}
    yield RelevanceRequest(
        f"{_PATH}/query_sets",
        {
            "name": name,
            "description": f"{len(ratings)} judged queries for {index}",
            "sampling": "manual",
            "querySetQueries": [{"queryText": text, **of_texts.get(text, {})} for text in ratings],
        },
    )
    judged = [{"query": text, "ratings": of_text} for text, of_text in ratings.items()]
    yield RelevanceRequest(f"{_PATH}/judgments", {"name": name, "type": "IMPORT_JUDGMENT", "judgmentRatings": judged})
    for kind, query in _configurations(window if pipeline or numbers else 0, templates, numbers):
        body = {
            "name": _named(index, f" {kind}"),
            "index": templates.index if templates else index,
            "query": query,
        }
        through = {"searchPipeline": pipeline} if kind != "BM25" and not numbers else {}
        yield RelevanceRequest(f"{_PATH}/search_configurations", body | through)


def _named(name: str, ending: str = "") -> str:
    return _REFUSED.sub(" ", name)[: _LONGEST_NAME - len(ending)] + ending


def _vectors_of(texts: list[str], encode: Callable[[Sequence[str]], Vectors]) -> tuple[dict[str, dict[str, str]], int]:
    """Return the fields of each text that has a vector, and the number of fields."""
    vectors = encode(texts)
    fields = {}
    for text, row, numbers in zip(texts, vectors, as_decimals(vectors), strict=True):
        written = msgspec.json.encode(numbers).decode()[1:-1].split(",")
        parts = range(0, len(written), _NUMBERS_IN_A_FIELD)
        if row.any():
            fields[text] = {
                f"vector_{number}": ",".join(written[start : start + _NUMBERS_IN_A_FIELD])
                for number, start in enumerate(parts, 1)
            }
    return fields, -(-vectors.shape[1] // _NUMBERS_IN_A_FIELD)


def _configurations(window: int, templates: Templates | None, numbers: int) -> Iterator[tuple[str, str]]:
    """Yield name and request of each ranking; the request is a template, and with vectors no JSON before it is filled.

    :param numbers: of the fields that a vector is in; 0 if the cluster encodes the text.
    """
    text = _TEMPLATE_TEXT if templates else _TEXT
    lexical: dict[str, Any] = {"match": {"searchable": {"query": text}}}
    yield "BM25", _written({"query": lexical})
    if not window:
        return
    dense: dict[str, Any] = {"neural": {"vector": {"query_text": text, "k": window}}}
    if numbers:
        dense = {"knn": {"vector": {"vector": msgspec.Raw(_VECTOR.encode()), "k": window}}}
    hybrid: dict[str, Any] = {"query": {"hybrid": {"queries": [lexical, dense], "pagination_depth": window}}}
    if numbers and templates:
        hybrid["search_pipeline"] = templates.pipeline
    fields = "[" + ",".join(f"{{{{vector_{number}}}}}" for number in range(1, numbers + 1)) + "]"
    yield "k-NN", _written({"query": dense}).replace(_VECTOR, fields)
    yield "hybrid", _written(hybrid).replace(_VECTOR, fields)


def _written(body: Mapping[str, Any]) -> str:
    return msgspec.json.encode(body).decode()


def console_lines(requests: Iterable[RelevanceRequest]) -> Iterator[str]:
    """Yield the requests in the format of Dev Tools."""
    for request in requests:
        yield f"PUT {request.path}\n{msgspec.json.encode(request.body).decode()}\n"
