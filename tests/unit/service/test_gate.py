"""What every request meets: keys, sizes, numbers and times; request ids, CORS, compression, and the log."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from service_app import opening, served
from starlette.testclient import TestClient

from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.app import application
from hybrid_search.service.core import Service
from hybrid_search.service.keys import add_key
from hybrid_search.service.logs import JsonLines
from hybrid_search.settings.service import ServiceOptions

ASKED = {"query": "kitten"}


def test_with_keys_only_those_who_have_one_are_let_in_as_far_as_it_reaches(index: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    reader, writer = add_key(file, "reader", ("search",)), add_key(file, "writer", ("search", "write"))
    assert reader not in file.read_text()
    with served(index, keys=str(file)) as client:
        for headers in ({}, {"authorization": "Bearer nosuch"}, {"authorization": f"Basic {reader}"}):
            refused = client.post("/search", json=ASKED, headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        may_read = {"authorization": f"Bearer {reader}"}
        assert client.post("/search", json=ASKED, headers=may_read).status_code == 200
        assert client.delete("/documents/d1", headers=may_read).json()["type"] == "urn:hybrid-search:Forbidden"
        may_write = {"authorization": f"bearer {writer}"}
        assert client.delete("/documents/d1", headers=may_write).json()["type"] == "urn:hybrid-search:ReadOnly"
        assert client.get("/metrics").status_code == 401
        assert client.get("/health/ready").status_code == client.get("/health/live").status_code == 200


def test_a_key_reaches_no_further_where_the_service_is_mounted_in_another_application(
    own_index: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.toml"
    reader = {"authorization": f"Bearer {add_key(file, 'reader', ('search',))}"}
    options = ServiceOptions(keys=str(file), writable=True)
    service = Service(str(own_index), opening(own_index, writable=True), options, writes=True)
    outer = FastAPI()
    outer.mount("/inside", application(service))
    service.open()
    try:
        client = TestClient(outer)
        assert client.get("/inside/health/ready").status_code == 200
        assert client.post("/inside/search", json=ASKED).status_code == 401
        assert client.post("/inside/search", json=ASKED, headers=reader).status_code == 200
        assert client.delete("/inside/documents/d1", headers=reader).json()["type"] == "urn:hybrid-search:Forbidden"
        assert client.get("/inside/documents/d1", headers=reader).status_code == 200
    finally:
        service.close()


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_its_size(index: Path) -> None:
    with served(index, max_body=1_024) as client:
        json_type = {"content-type": "application/json"}
        whole = client.post("/search", content=b"x" * 2_000, headers=json_type)
        parts = client.post("/search", content=iter([b"x" * 600, b"x" * 600]), headers=json_type)
        assert (whole.status_code, parts.status_code) == (413, 413)
        assert whole.headers["connection"] == "close"
        assert client.post("/search", json=ASKED).status_code == 200


@pytest.fixture
def stuck(index: Path) -> Iterator[tuple[Service, threading.Event, threading.Semaphore]]:
    """A service whose searches wait for an event."""
    go, begun = threading.Event(), threading.Semaphore(0)

    class Waiting(Retriever):
        def search_many(self, *given, **more):  # type: ignore[no-untyped-def]
            if given[0] == ["kitten"]:
                begun.release()
                go.wait(20)
            return super().search_many(*given, **more)

    def opened() -> Retriever:
        return Waiting.through(opening(index)().source)

    yield Service(str(index), opened, ServiceOptions(concurrency=1, threads=1, time_limit=0.5), writes=False), go, begun
    go.set()


def test_when_it_is_full_it_says_when_to_come_again_and_stays_well(stuck) -> None:
    service, go, begun = stuck
    with TestClient(application(service)) as client:
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(client.post("/search", json=ASKED).status_code))
        asking.start()
        begun.acquire()
        full = client.get("/documents/d1")
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert full.json()["type"] == "urn:hybrid-search:Busy"
        assert client.get("/health/ready").status_code == 200
        asking.join()
        assert answers == [504]  # no answer within half a second
        go.set()
        assert client.post("/search", json={"query": "dog"}).status_code == 200


def test_a_request_s_id_comes_back_and_a_strange_one_is_replaced(client: TestClient) -> None:
    assert client.get("/stats", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    given = client.get("/stats", headers={"x-request-id": "a b\t" + "c" * 100}).headers["x-request-id"]
    assert len(given) == 32


def test_an_unknown_path_and_another_method_are_problems_too(client: TestClient) -> None:
    unknown, method = client.get("/nosuch"), client.put("/search")
    assert (unknown.status_code, method.status_code, method.headers["allow"]) == (404, 405, "POST")
    assert {one.headers["content-type"] for one in (unknown, method)} == {"application/problem+json"}


@pytest.mark.parametrize("path", ["/", "/health/ready", "/documents/d1", "/docs", "/stats"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-type", "content-security-policy")
    assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same]


def test_an_error_that_nobody_foresaw_says_nothing_of_itself(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Retriever):
        def get(self, ids):  # type: ignore[no-untyped-def]
            raise RuntimeError("a secret")

    service = Service(str(index), lambda: Broken.through(opening(index)().source), ServiceOptions(), writes=False)
    with TestClient(application(service), raise_server_exceptions=False) as client:
        answer = client.get("/documents/d1", headers={"x-request-id": "r1"})
    assert (answer.status_code, answer.json()["instance"]) == (500, "urn:request:r1")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    [logged] = [record for record in caplog.records if record.levelno == logging.ERROR]
    line = json.loads(JsonLines().format(logged))
    assert (line["request_id"], line["level"]) == ("r1", "error")
    assert "RuntimeError: a secret" in line["error"]


def test_a_request_is_one_line_of_json_without_its_text(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hybrid_search.service"):
        client.post("/search", json={"query": "kitten secret"}, headers={"x-request-id": "r2"})
    [line] = [JsonLines().format(one) for one in caplog.records if one.name == "hybrid_search.service.requests"]
    facts = json.loads(line)
    assert (facts["request_id"], facts["method"], facts["path"], facts["status"]) == ("r2", "POST", "/search", 200)
    assert "secret" not in line


def test_other_origins_are_let_in_by_name_only(index: Path, client: TestClient) -> None:
    wanted = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    assert client.options("/search", headers=wanted).status_code == 405
    with served(index, origins=("https://app.example.org",)) as open_client:
        allowed = open_client.options("/search", headers=wanted)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
        other = open_client.options("/search", headers=wanted | {"origin": "https://evil.example.org"})
        assert "access-control-allow-origin" not in other.headers
        refused = open_client.post("/search", json={}, headers={"origin": "https://app.example.org"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (422, "https://app.example.org")


def test_a_long_answer_is_zipped_for_those_who_can_read_it(client: TestClient) -> None:
    asked = {"queries": ["cat", "dog", "car"], "explain": True}
    zipped = client.post("/search/batch", json=asked)
    plain = client.post("/search/batch", json=asked, headers={"accept-encoding": "identity"})
    assert (zipped.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert zipped.json()["results"] == plain.json()["results"]


def test_ids_and_unknown_paths_make_no_series_of_their_own(client: TestClient) -> None:
    client.post("/search", json=ASKED)
    for path in ("/documents/d1", "/documents/d2", "/nosuch", "/neither"):
        client.get(path)
    figures = client.get("/metrics").text
    assert 'hybrid_search_requests_total{method="GET",route="/documents/{id:path}",status="200"}' in figures
    assert "nosuch" not in figures
    assert "hybrid_search_search_seconds_bucket" in figures


def test_what_is_served_is_told(client: TestClient) -> None:
    told = client.get("/stats").json()
    assert (told["documents"], told["fields"], told["modes"]) == (5, {"lang": "keyword"}, ["hybrid", "bm25", "knn"])


def test_the_reference_names_every_operation_and_its_limits_and_asks_nobody(client: TestClient) -> None:
    page = client.get("/docs").text
    for operation in ("POST /search", "POST /search/batch", "DELETE /documents", "POST /embed", "GET /metrics"):
        assert f"<code>{operation}</code>" in page
    assert "to 50" in page  # k's limit here
    assert "//" not in page.replace("http://127.0.0.1:8000", "")
