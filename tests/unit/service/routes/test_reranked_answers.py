"""Reranking over HTTP: the service's reranker, and what a request may say of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from service_app import opening
from starlette.testclient import TestClient

from hybrid_search.service.app import application
from hybrid_search.service.core import Service
from hybrid_search.settings.service import ServiceOptions
from hybrid_search.types import Hit


def by_length(query: str, hits: Sequence[Hit]) -> list[int]:
    if "secret" in query:
        raise RuntimeError("token 1234 refused")
    return [len(hit.searchable_text) for hit in hits]


@pytest.fixture(scope="module")
def reranking(index: Path) -> Iterator[TestClient]:
    opened = opening(index)
    service = Service(str(index), lambda: opened().reranking(by_length, 3), ServiceOptions(), writes=False)
    with TestClient(application(service), raise_server_exceptions=False) as client:
        yield client


def test_the_service_s_reranker_is_on_unless_a_request_switches_it_off(reranking: TestClient) -> None:
    asked = {"query": "sleeps", "mode": "bm25", "explain": True}
    answer = reranking.post("/search", json=asked).json()
    assert [(hit["id"], hit["rank"], hit["score"]) for hit in answer["hits"]] == [("d2", 1, 17.0), ("d5", 2, 13.0)]
    assert (answer["reranked"], answer["hits"][0]["first_stage"]["rank"]) == (True, 2)
    off = reranking.post("/search", json={**asked, "rerank": False}).json()
    assert ([hit["id"] for hit in off["hits"]], off["reranked"]) == (["d5", "d2"], False)
    assert off["hits"][1]["score"] == answer["hits"][0]["first_stage"]["score"]
    assert "first_stage" not in off["hits"][0]
    assert reranking.get("/stats").json()["reranks"] is True


def test_a_reranked_hit_keeps_the_distance_of_its_vector(reranking: TestClient) -> None:
    [hit] = reranking.post("/search", json={"query": "kitten", "mode": "knn", "k": 1}).json()["hits"]
    assert (hit["id"], hit["score"], hit["distance"]) == ("d2", 17.0, pytest.approx(0, abs=1e-6))


def test_a_batch_is_reranked_and_a_page_behind_is_refused(reranking: TestClient) -> None:
    found = reranking.post("/search/batch", json={"queries": ["cat dog", "sleeps"], "k": 5}).json()
    assert (found["reranked"], [len(hits) for hits in found["results"]]) == (True, [3, 2])
    refused = reranking.post("/search", json={"query": "cat", "offset": 3})
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:hybrid-search:UsageError")


def test_why_a_reranker_failed_is_in_the_log_and_not_in_the_answer(
    reranking: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = reranking.post("/search", json={"query": "secret cat"})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:hybrid-search:RerankingFailed")
    assert "1234" not in answer.text
    assert "token 1234 refused" in caplog.text


def test_a_service_without_a_reranker_says_so_and_knows_diversity(client: TestClient) -> None:
    refused = client.post("/search", json={"query": "cat", "rerank": True})
    assert (refused.status_code, refused.json()["detail"]) == (
        400, "rerank is true, and this service has no reranker; leave it out",
    )  # fmt: skip
    answer = client.post("/search", json={"query": "cat", "mode": "knn", "diversity": 0.6}).json()
    assert ([hit["id"] for hit in answer["hits"]], answer["reranked"]) == (["d2", "d3", "d4", "d1"], False)
    assert client.post("/search", json={"query": "cat", "diversity": 2}).status_code == 422
