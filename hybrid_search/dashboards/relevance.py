"""Makes objects for OpenSearch's Search Relevance: a query set, its judgements, search configurations.

They are not saved objects but documents of the plugin, which assigns their ids; so they are written as requests for Dev
Tools. What the plugin refuses according to its source (long names, quotes and angle brackets in a query, long queries)
is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.types import Judgement, Query

__all__ = ["MOST_QUERIES", "PLUGIN", "RelevanceRequest", "console_lines", "relevance_requests"]

PLUGIN = "opensearch-search-relevance"
"""The plugin's name in ``GET _cat/plugins``."""

MOST_QUERIES = 1_000
"""Default of the server's setting ``plugins.search_relevance.query_set.maximum``."""

_LONGEST_NAME = 50
_LONGEST_QUERY = 2_000
# These are never part of a word, neither for BM25 nor for the towers, so replacing them changes no ranking.
_REFUSED = re.compile(r"""["\\<>\s]+""")

_PATH = "/_plugins/_search_relevance"
_TEXT = "%SearchText%"


@dataclass(frozen=True, slots=True)
class RelevanceRequest:
    """One PUT request to the plugin."""

    path: str
    body: Mapping[str, Any]


def relevance_requests(
    index: str,
    name: str,
    queries: Iterable[Query],
    judgements: Iterable[Judgement],
    *,
    pipeline: str = "",
    window: int = 200,
) -> Iterator[RelevanceRequest]:
    """Make the requests: a query set, its judgements, and a configuration for each ranking that a text can ask for.

    Queries without judgements are left out, as nothing could be measured with them; so are queries that are too long
    for the plugin.

    :param name: of the query set and the judgements, such as ``nfcorpus test``.
    :param pipeline: the search pipeline of towers that are deployed in the cluster; empty for BM25 alone, as only they
        can encode a query text there.
    :param window: number of documents that each leg contributes.
    """
    taken = ((query.id, _REFUSED.sub(" ", query.text).strip()) for query in queries)
    texts = {id: text for id, text in taken if 0 < len(text) <= _LONGEST_QUERY}
    name = _named(name)
    ratings: dict[str, list[dict[str, str]]] = {}
    for judgement in judgements:
        if judgement.query_id in texts:
            rating = {"docId": judgement.document_id, "rating": f"{judgement.grade:.1f}"}
            ratings.setdefault(texts[judgement.query_id], []).append(rating)
    yield RelevanceRequest(
        f"{_PATH}/query_sets",
        {
            "name": name,
            "description": f"{len(ratings)} judged queries for {index}",
            "sampling": "manual",
            "querySetQueries": [{"queryText": text} for text in ratings],
        },
    )
    judged = [{"query": text, "ratings": of_text} for text, of_text in ratings.items()]
    yield RelevanceRequest(f"{_PATH}/judgments", {"name": name, "type": "IMPORT_JUDGMENT", "judgmentRatings": judged})
    for kind, query in _configurations(window if pipeline else 0):
        body = {
            "name": _named(index, f" {kind}"),
            "index": index,
            "query": msgspec.json.encode({"query": query}).decode(),
        }
        yield RelevanceRequest(
            f"{_PATH}/search_configurations", body | ({"searchPipeline": pipeline} if kind != "BM25" else {})
        )


def _named(name: str, ending: str = "") -> str:
    return _REFUSED.sub(" ", name)[: _LONGEST_NAME - len(ending)] + ending


def _configurations(window: int) -> Iterator[tuple[str, dict[str, Any]]]:
    lexical = {"match": {"searchable": {"query": _TEXT}}}
    yield "BM25", lexical
    if window:
        dense = {"neural": {"vector": {"query_text": _TEXT, "k": window}}}
        yield "k-NN", dense
        yield "hybrid", {"hybrid": {"queries": [lexical, dense], "pagination_depth": window}}


def console_lines(requests: Iterable[RelevanceRequest]) -> Iterator[str]:
    """Yield the requests in the format of Dev Tools."""
    for request in requests:
        yield f"PUT {request.path}\n{msgspec.json.encode(request.body).decode()}\n"
