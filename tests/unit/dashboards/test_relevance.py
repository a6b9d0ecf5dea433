"""Objects for Search Relevance, as its API is documented and its source checks them."""

from __future__ import annotations

import json

from hybrid_search.dashboards.relevance import console_lines, relevance_requests
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
