"""``/search``, ``/search/batch`` and ``/embed``: what is asked is what the library answers, with distances."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from hybrid_search.service.routes.answers import distance_of


def search(client: TestClient, **asked: Any) -> dict[str, Any]:
    answer = client.post("/search", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    "asked",
    [
        '{"query": "kitten"}',
        '{"query": "cat dog car", "k": 2, "page": 2, "weight": 0.3, "explain": true, "highlight": true}',
        '{"query": "cat", "total": true, "facets": ["lang"], "filter": "lang = en"}',
        '{"query": "cat", "query": "kitten"}',
        '{"query": ""}',
        '{"query": "cat", "k": 1e1}',
        '{"query": "cat", "min_score": NaN}',
        '{"query": "cat", "rerank": true}',
        '{"query": "cat", "filter": "color = red"}',
        '{"query": "cat", "k": 51}',
        '{"query": "\\ud800"}',
        '{"question": "cat"}',
        '["cat"]',
        '{"query": "cat"',
        "[" * 100_000,
        "",
    ],
)
def test_the_short_way_answers_as_the_framework_does(client: TestClient, asked: str) -> None:
    def answered(kind: str) -> tuple[int, str | None, object]:
        told = client.post("/search", content=asked, headers={"content-type": kind, "x-request-id": "one"})
        body = told.json()
        body.pop("took_ms", None)
        return told.status_code, told.headers["content-type"], body

    # JSON of a kind of its own is read by the framework alone.
    assert answered("application/json; charset=utf-8") == answered("application/one+json")


def test_searches_by_the_short_way_are_counted_under_their_path(client: TestClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        name = 'hybrid_search_requests_total{method="POST",route="/search",status="200"}'
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0)

    before = counted()
    search(client, query="kitten")
    assert counted() == before + 1


def test_nearest_neighbours_have_the_cosine_distance_and_their_document(client: TestClient) -> None:
    found = search(client, query="kitten", mode="knn", k=2)
    assert (found["mode"], found["weight"], found["offset"]) == ("knn", None, 0)
    first, second = found["hits"]
    # d2 is on the same axis; d1 has two parts of it and one of another, so its cosine is 2 / sqrt(5).
    assert (first["id"], first["rank"], first["text"]) == ("d2", 1, "the kitten sleeps")
    assert first["metadata"] == {"lang": "en"}
    assert first["distance"] == pytest.approx(0, abs=1e-6)
    assert second["id"] == "d1"
    assert second["distance"] == pytest.approx(1 - 2 / 5**0.5, abs=1e-6)
    assert "legs" not in first


def test_explained_hits_have_their_legs_whose_shares_sum_to_one(client: TestClient) -> None:
    found = search(client, query="kitten", weight=0.3, explain=True)
    assert (found["mode"], found["weight"]) == ("hybrid", 0.3)
    legs = found["hits"][0]["legs"]
    assert found["hits"][0]["id"] == "d2"
    assert (legs["bm25"]["weight"], legs["knn"]["weight"]) == (0.3, 0.7)
    assert legs["bm25"]["share"] + legs["knn"]["share"] == pytest.approx(1)
    assert legs["knn"]["distance"] == found["hits"][0]["distance"]


def test_a_hit_that_only_bm25_found_has_no_distance(client: TestClient) -> None:
    [hit] = [hit for hit in search(client, query="sleeps kitten")["hits"] if hit["id"] == "d5"]
    assert hit["distance"] is None


def test_where_a_hit_matched_is_shown_when_it_is_asked_for(client: TestClient) -> None:
    [hit] = search(client, query="kitten", mode="bm25", highlight=True)["hits"]
    assert hit["highlights"] == {
        "title": [], "text": [[4, 10]], "snippet": "the kitten sleeps", "in_snippet": [[4, 10]],
    }  # fmt: skip
    assert "highlights" not in search(client, query="kitten")["hits"][0]


def test_a_page_is_so_many_hits_further_on(client: TestClient) -> None:
    whole = [hit["id"] for hit in search(client, query="cat dog car", k=4)["hits"]]
    second = search(client, query="cat dog car", k=2, page=2)
    assert [hit["id"] for hit in second["hits"]] == whole[2:]
    assert [hit["rank"] for hit in second["hits"]] == [3, 4]
    assert second == search(client, query="cat dog car", k=2, offset=2) | {"took_ms": second["took_ms"]}


def test_a_filter_holds(client: TestClient) -> None:
    assert {hit["id"] for hit in search(client, query="dog", filter='lang = "de"')["hits"]} == {"d3", "d4"}


def test_a_batch_is_answered_in_the_order_of_its_queries(client: TestClient) -> None:
    answer = client.post("/search/batch", json={"queries": ["kitten", "puppy", ""], "k": 1}).json()
    assert [[hit["id"] for hit in hits] for hits in answer["results"]] == [["d2"], ["d3"], []]


def test_texts_are_encoded_by_the_tower_that_is_asked_for(client: TestClient) -> None:
    answer = client.post("/embed", json={"texts": ["dog", "nothing"], "tower": "document"}).json()
    assert answer == {"fingerprint": "axes", "dimension": 4, "vectors": [[0, 1, 0, 0], [0, 0, 0, 0]]}


@pytest.mark.parametrize(
    ("asked", "status", "kind", "words"),
    [
        ({"query": "x", "filter": "year >"}, 400, "FilterError", "expected a value"),
        ({"query": "x", "filter": "year = 3"}, 400, "FilterError", "year"),
        ({"query": "x" * 101}, 400, "UsageError", "101 characters; this service takes at most 100"),
        ({"query": "x", "k": 51}, 400, "UsageError", "at most 50 hits"),
        ({"query": "x", "page": 2, "offset": 3}, 400, "UsageError", "give one of them"),
        ({"query": "x", "page": 5_000, "k": 50}, 400, "UsageError", "offset is 249950"),
        ({"query": "x", "mode": "bm25", "weight": 0.5}, 400, "ConfigError", "for mode hybrid"),
        ({"query": "x", "weight": 1.5}, 422, "InvalidRequest", "weight must be at most 1; see /docs"),
        ({"query": "x", "mode": "bm52"}, 422, "InvalidRequest", "mode must be 'hybrid', 'bm25' or 'knn'"),
        ({"query": "x", "size": 3}, 422, "InvalidRequest", "size is no argument here; leave it out"),
        ({}, 422, "InvalidRequest", "query is missing"),
        ({"query": 3}, 422, "InvalidRequest", "query must be a text"),
        ([], 422, "InvalidRequest", "body must be an object in braces, such as {...}"),
    ],
)
def test_what_can_not_be_answered_is_a_problem_of_the_library_s_tree(
    client: TestClient, asked: dict[str, Any], status: int, kind: str, words: str
) -> None:
    answer = client.post("/search", json=asked)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:hybrid-search:{kind}"
    assert words in problem["detail"]
    assert problem["instance"] == f"urn:request:{answer.headers['x-request-id']}"


def test_a_batch_of_too_many_queries_is_refused(client: TestClient) -> None:
    answer = client.post("/search/batch", json={"queries": ["x"] * 5})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "5 queries; this service takes at most 4 in one request",
    )


@pytest.mark.parametrize("body", [b"{", b"[1, 2", b"\xff", b'{"query": "\\ud800', b"nul", b"[" * 100_000, b"9" * 5_000])
def test_what_is_no_json_is_the_client_s_fault(client: TestClient, body: bytes) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:hybrid-search:InvalidRequest")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("headers", "said"),
    [({}, "is missing"), ({"content-type": "application/x-www-form-urlencoded"}, "is application/x-www-form-urlenc")],
)
def test_a_body_that_is_not_said_to_be_json_is_told_how_to(
    client: TestClient, headers: dict[str, str], said: str
) -> None:
    answer = client.post("/search", content=b'{"query": "kitten"}', headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:hybrid-search:NotJson")
    assert f"Content-Type {said}" in answer.json()["detail"]
    assert "Content-Type: application/json" in answer.json()["detail"]
    versioned = {"content-type": "application/vnd.shop+json; charset=utf-8"}
    assert client.post("/search", content=b'{"query": "kitten"}', headers=versioned).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/search", b'{"query": "kitten \\ud800"}', "query"),
        ("/search", b'{"query": "kitten", "filter": "lang = \\"\\ud800\\""}', "filter"),
        ("/search/batch", b'{"queries": ["kitten", "\\udfff"]}', "queries.1"),
        ("/embed", b'{"texts": ["\\ud800"]}', "texts.0"),
        ("/neighbours", b'{"id": "\\ud800"}', "id"),
    ],
)
def test_a_lone_surrogate_is_refused_as_in_a_document(client: TestClient, path: str, body: bytes, field: str) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:hybrid-search:InvalidRequest")
    reason = "has a lone surrogate, half of a character; send valid Unicode"
    assert answer.json()["errors"] == [{"field": field, "reason": reason}]


@pytest.mark.parametrize(
    ("similarity", "score", "distance"),
    [
        ("cosine", 1.0, 0.0), ("cosine", 0.5, 1.0), ("cosine", 0.0, 2.0), ("l2", 1.0, 0.0), ("l2", 0.2, 4.0),
        ("dot", 4.0, -3.0), ("dot", 1.0, 0.0), ("dot", 0.25, 3.0),
    ],
)  # fmt: skip
def test_a_distance_is_what_opensearch_s_score_was_made_of(similarity: Any, score: float, distance: float) -> None:
    # Its scales: (2 - d) / 2 for the cosine, 1 / (1 + d) for l2; for a dot product p, p + 1 or 1 / (1 - p), d = -p.
    assert distance_of(score, similarity) == pytest.approx(distance)


def test_matches_are_counted_by_metadata_and_poor_hits_left_out(client: TestClient) -> None:
    found = search(client, query="sleeps", mode="bm25", total=True, facets=["lang"])
    assert (found["total"], found["is_exact"]) == (2, True)
    assert found["facets"] == {"lang": [{"value": "en", "count": 2}]}
    assert "total" not in search(client, query="sleeps", mode="bm25")
    near = search(client, query="kitten", mode="knn", min_score=0.99, total=True)
    assert ([hit["id"] for hit in near["hits"]], near["total"]) == (["d2"], 1)
    assert client.post("/search", json={"query": "a", "facets": ["colour"]}).status_code == 400
