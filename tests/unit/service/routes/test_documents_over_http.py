"""``/documents``: what is added is found, what is deleted is gone; a service that may change nothing does not."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient


def test_what_was_added_is_fetched_and_found_and_what_was_deleted_is_gone(writable: TestClient) -> None:
    document = {"id": "a b/c", "title": "oak", "text": "tree", "metadata": {"year": 7, "tags": ["x", "y"]}}
    added = writable.post("/documents", json={"documents": [document]})
    assert (added.status_code, added.json()) == (200, {"added": 1, "rejected": []})
    assert writable.get("/documents/a%20b%2Fc").json() == document
    assert writable.post("/search", json={"query": "oak", "k": 1}).json()["hits"][0]["id"] == "a b/c"
    assert writable.delete("/documents/a%20b%2Fc").json() == {"deleted": 1}
    assert writable.get("/documents/a%20b%2Fc").status_code == 404
    assert writable.delete("/documents/a%20b%2Fc").status_code == 404


def test_several_are_fetched_and_deleted_by_their_ids(writable: TestClient) -> None:
    found = writable.get("/documents", params={"id": ["d4", "nosuch"]}).json()["documents"]
    assert [one and one["id"] for one in found] == ["d4", None]
    assert writable.request("DELETE", "/documents", params={"id": ["d4", "nosuch", "d5"]}).json() == {"deleted": 2}


def test_of_documents_with_one_id_the_last_is_there_and_counted_once(writable: TestClient) -> None:
    documents = [{"id": "twice", "text": "first"}, {"id": "twice", "text": "last"}]
    assert writable.post("/documents", json={"documents": documents}).json()["added"] == 1
    assert writable.get("/documents/twice").json()["text"] == "last"


def test_a_document_that_is_refused_is_named_and_the_others_are_taken(writable: TestClient) -> None:
    documents = [{"id": "new", "text": "car"}, {"id": "empty"}, {"id": "bad", "text": "x", "metadata": {"lang": 3}}]
    answer = writable.post("/documents", json={"documents": documents}).json()
    assert answer["added"] == 1
    assert [(one["id"], one["field"]) for one in answer["rejected"]] == [("empty", "text"), ("bad", "lang")]


def test_names_and_ids_that_are_no_unicode_are_refused_in_words(writable: TestClient) -> None:
    body = b'{"documents": [{"id": "\\ud800", "text": "x"}, {"id": "y", "text": "x", "metadata": {"\\ud800": 1}}]}'
    answer = writable.post("/documents", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["rejected"]] == ["?", "y"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/documents"), ("DELETE", "/documents/d1"), ("DELETE", "/documents?id=d1")]
)
def test_a_service_that_is_not_writable_changes_nothing(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, json={"documents": [{"id": "n", "text": "x"}]} if method == "POST" else None)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:hybrid-search:ReadOnly")
    assert client.get("/documents/d1").status_code == 200


def test_what_no_document_can_be_called_is_an_error_of_the_client(client: TestClient) -> None:
    assert client.get("/documents", params={"id": "x" * 600}).status_code == 400
    assert client.get("/documents").status_code == 422
