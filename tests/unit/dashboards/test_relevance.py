"""Objects for Search Relevance, as its API is documented and its source checks them.

Its source (opensearch-project/search-relevance, read on 30 November 2026): RestPutQuerySetAction,
RestPutJudgmentAction, RestPutSearchConfigurationAction, PutSearchConfigurationTransportAction, TextValidationUtil,
QuerySetEntry, JudgmentRatingsMapper, SearchRequestBuilder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from hybrid_search.dashboards.relevance import RelevanceRequest, Templates, console_lines, relevance_requests
from hybrid_search.types import Judgement, Query

QUERIES = (Query("q1", "read a file"), Query("q2", "nobody judged this"), Query("q3", "sort"))
JUDGEMENTS = (Judgement("q1", "d1", 2), Judgement("q1", "d2", 0), Judgement("q3", "d9", 1), Judgement("gone", "d1", 1))


def test_a_query_set_holds_the_judged_queries_and_the_judgements_are_theirs() -> None:
    query_set, judgements, _ = relevance_requests("passages", "docs test", QUERIES, JUDGEMENTS)
    assert query_set.path == "/_plugins/_search_relevance/query_sets"
    assert query_set.body == {
        "name": "docs test",
        "description": "2 judged queries for passages",
        "sampling": "manual",
        "querySetQueries": [{"queryText": "read a file"}, {"queryText": "sort"}],
    }
    assert judgements.path == "/_plugins/_search_relevance/judgments"
    assert judgements.body["judgmentRatings"] == [
        {"query": "read a file", "ratings": [{"docId": "d1", "rating": "2.0"}, {"docId": "d2", "rating": "0.0"}]},
        {"query": "sort", "ratings": [{"docId": "d9", "rating": "1.0"}]},
    ]


def test_without_deployed_towers_only_bm25_can_be_asked_by_text() -> None:
    configurations = list(relevance_requests("passages", "docs test", QUERIES, JUDGEMENTS))[2:]
    assert [one.body["name"] for one in configurations] == ["passages BM25"]
    assert json.loads(configurations[0].body["query"]) == {
        "query": {"match": {"searchable": {"query": "%SearchText%"}}}
    }


def test_with_a_pipeline_there_are_all_three_rankings() -> None:
    made = list(relevance_requests("passages", "docs test", QUERIES, JUDGEMENTS, pipeline="fused", window=100))[2:]
    assert [(one.body["name"], one.body.get("searchPipeline")) for one in made] == [
        ("passages BM25", None),
        ("passages k-NN", "fused"),
        ("passages hybrid", "fused"),
    ]
    hybrid = json.loads(made[2].body["query"])["query"]["hybrid"]
    assert hybrid == {
        "queries": [
            {"match": {"searchable": {"query": "%SearchText%"}}},
            {"neural": {"vector": {"query_text": "%SearchText%", "k": 100}}},
        ],
        "pagination_depth": 100,
    }


def test_dev_tools_takes_a_line_with_the_request_and_one_with_the_body() -> None:
    for text in console_lines(relevance_requests("passages", "docs test", QUERIES, JUDGEMENTS)):
        request, body, rest = text.split("\n")
        assert request.startswith("PUT /_plugins/_search_relevance/")
        assert isinstance(json.loads(body), dict)
        assert rest == ""


def test_what_the_plugin_refuses_is_kept_out_of_queries_and_names() -> None:
    queries = [
        Query("quoted", 'the "else" clause\nof <for> \\ while'),
        Query("long", "word " * 401),
        Query("none", '"<>"'),
    ]
    judged = [Judgement(query.id, "d1", 1) for query in queries]
    index = "a-name-of-an-index-that-is-longer-than-forty-characters"
    query_set, judgements, configuration = relevance_requests(index, f"{index} test", queries, judged)
    assert query_set.body["querySetQueries"] == [{"queryText": "the else clause of for while"}]
    assert [one["query"] for one in judgements.body["judgmentRatings"]] == ["the else clause of for while"]
    assert query_set.body["name"] == judgements.body["name"] == "a-name-of-an-index-that-is-longer-than-forty-chara"
    assert configuration.body["name"] == "a-name-of-an-index-that-is-longer-than-forty- BM25"
    assert configuration.body["index"] == index


VECTORS = {
    "read a file": np.linspace(-1, 1, 150, dtype=np.float32) / 3,
    "sort": np.full(150, 1e-7, np.float32),
    "unknown": np.zeros(150, np.float32),
}
PIPELINE = {"phase_results_processors": [{"normalization-processor": {}}]}


def encoded(texts: Sequence[str]) -> Any:
    return np.stack([VECTORS[text] for text in texts])


def of_templates(**given: Any) -> list[RelevanceRequest]:
    templates = Templates("passages-3", encoded, PIPELINE)
    queries = (*QUERIES, Query("q4", "unknown"))
    judged = (*JUDGEMENTS, Judgement("q4", "d1", 1))
    return list(relevance_requests("passages", "docs test", queries, judged, templates=templates, window=100, **given))


def rendered(template: str, entry: Mapping[str, str]) -> Any:
    """What the plugin sends: each name in double braces is a value of the query's entry, ``queryText`` or its own."""
    return json.loads(re.sub(r"\{\{(\w+)\}\}", lambda name: entry[name[1]], template))


def test_a_server_that_renders_templates_gets_our_vectors_with_the_queries() -> None:
    query_set, judgements, *configurations = of_templates()
    entries = query_set.body["querySetQueries"]
    # A query that the towers know no word of has no vector to send.
    assert [entry["queryText"] for entry in entries] == ["read a file", "sort"]
    assert [one["query"] for one in judgements.body["judgmentRatings"]] == ["read a file", "sort"]
    assert [set(entry) for entry in entries] == [{"queryText", "vector_1", "vector_2"}] * 2
    assert [(one.body["name"], one.body["index"], "searchPipeline" in one.body) for one in configurations] == [
        ("passages BM25", "passages-3", False),
        ("passages k-NN", "passages-3", False),
        ("passages hybrid", "passages-3", False),
    ]
    lexical, dense, hybrid = (rendered(one.body["query"], entries[0]) for one in configurations)
    assert lexical == {"query": {"match": {"searchable": {"query": "read a file"}}}}
    sent = dense["query"]["knn"]["vector"]
    assert sent["k"] == 100
    assert np.array_equal(np.array(sent["vector"], np.float32), VECTORS["read a file"])
    assert hybrid["query"]["hybrid"] == {"queries": [lexical["query"], dense["query"]], "pagination_depth": 100}
    assert hybrid["search_pipeline"] == PIPELINE
    assert np.array_equal(
        np.array(rendered(configurations[1].body["query"], entries[1])["query"]["knn"]["vector"]["vector"], np.float32),
        VECTORS["sort"],
    )


def test_templates_without_towers_at_hand_leave_the_encoding_to_the_cluster() -> None:
    made = list(
        relevance_requests("passages", "docs", QUERIES, JUDGEMENTS, pipeline="fused", templates=Templates("passages-3"))
    )
    entry = made[0].body["querySetQueries"][0]
    assert entry == {"queryText": "read a file"}
    assert rendered(made[3].body["query"], entry)["query"] == {
        "neural": {"vector": {"query_text": "read a file", "k": 200}}
    }
    assert [one.body.get("searchPipeline") for one in made[2:]] == [None, "fused", "fused"]


# What the plugin's code takes, by the names of its own constants; anything else in a body it would ignore silently.
FIELDS = {
    "query_sets": {"name", "description", "sampling", "querySetQueries"},
    "judgments": {"name", "description", "type", "judgmentRatings"},
    "search_configurations": {"name", "description", "index", "query", "searchPipeline"},
}
REFUSED = re.compile(r'["\\\\<>\n\r]')


def check_text(text: str, longest: int) -> None:
    assert 0 < len(text) <= longest
    assert not REFUSED.search(text)


@pytest.mark.parametrize("templates", [False, True])
def test_every_request_has_the_fields_and_limits_of_the_plugin_s_source(templates: bool) -> None:
    plain = list(relevance_requests("passages", "docs test", QUERIES, JUDGEMENTS, pipeline="fused"))
    for request in of_templates() if templates else plain:
        kind = request.path.removeprefix("/_plugins/_search_relevance/")
        assert set(request.body) <= FIELDS[kind]
        check_text(request.body["name"], 50)
        check_text(request.body.get("description", "none"), 250)
        for entry in request.body.get("querySetQueries", ()):
            for name, value in entry.items():
                check_text(name, 50)
                check_text(value, 2_000)
        for judged in request.body.get("judgmentRatings", ()):
            assert set(judged) == {"query", "ratings"}
            for rating in judged["ratings"]:
                assert set(rating) == {"docId", "rating"}
                assert isinstance(rating["rating"], str)
                float(rating["rating"])
        if kind == "search_configurations":
            assert isinstance(request.body["query"], str)
            assert ("{{" in request.body["query"]) == templates
