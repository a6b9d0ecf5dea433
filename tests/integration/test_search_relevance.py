"""What Search Relevance would ask: its search configurations, sent as the plugin sends them, rank as we do.

The plugin itself is not to be had here: Maven Central has no opensearch-search-relevance.
"""

from __future__ import annotations

import json
import re

import pytest
from asked_by_text import NAME, Prepared
from in_cluster import plain

from hybrid_search.dashboards.relevance import Templates, relevance_requests
from hybrid_search.engines.opensearch.search import fusion_pipeline
from hybrid_search.search import Mode
from hybrid_search.types import Judgement, Query

pytestmark = pytest.mark.opensearch


def test_each_search_configuration_ranks_as_the_client_does(prepared: Prepared) -> None:
    queries = [*prepared.queries[:5], Query("quoted", 'the "else" clause <of> for \\ while')]
    judged = [Judgement(query.id, "any", 1) for query in queries]
    pipeline = prepared.deployment.search_pipeline
    query_set, _, *configurations = relevance_requests(NAME, "docs", queries, judged, pipeline=pipeline, window=100)
    texts = [one["queryText"] for one in query_set.body["querySetQueries"]]
    assert len(texts) == 6
    modes: dict[str, Mode] = {"BM25": "bm25", "k-NN": "knn", "hybrid": "hybrid"}
    with prepared.here() as here:
        for one in configurations:
            through = f"?search_pipeline={pipeline}" if "searchPipeline" in one.body else ""
            mode = modes[one.body["name"].removeprefix(f"{NAME} ")]
            for query, text in zip(queries, texts, strict=True):
                body = json.loads(one.body["query"].replace("%SearchText%", text))
                answer = plain(prepared.url, "POST", f"/{NAME}/_search{through}", body)
                assert answer.ids == [hit.id for hit in here.search(query.text, 10, mode=mode)]


def test_each_template_with_our_vectors_ranks_as_the_client_does(prepared: Prepared) -> None:
    queries = prepared.queries[:5]
    judged = [Judgement(query.id, "any", 1) for query in queries]
    with prepared.here() as here:
        templates = Templates(NAME, here.encode_queries, fusion_pipeline(here.fusion))
        query_set, _, *configurations = relevance_requests(
            NAME, "docs", queries, judged, window=100, templates=templates
        )
        entries = query_set.body["querySetQueries"]
        assert [entry["queryText"] for entry in entries] == [query.text for query in queries]
        for one, mode in zip(configurations, ("bm25", "knn", "hybrid"), strict=True):
            for query, entry in zip(queries, entries, strict=True):
                body = json.loads(re.sub(r"{{(\w+)}}", lambda name, of=entry: of[name[1]], one.body["query"]))
                answer = plain(prepared.url, "POST", f"/{NAME}/_search", body)
                assert answer.ids == [hit.id for hit in here.search(query.text, 10, mode=mode)]
