"""``/towers``: what a connector asks for, of the model that its path names and of no other."""

from __future__ import annotations

from pathlib import Path

from service_app import served
from starlette.testclient import TestClient

from hybrid_search.service.keys import add_key


def test_each_tower_answers_with_an_array_for_each_text(client: TestClient) -> None:
    assert client.get("/towers").json() == {"fingerprint": "axes", "dimension": 4, "path": "/towers/axes"}
    assert client.get("/towers/axes/").json()["fingerprint"] == "axes"
    asked = {"texts": ["kitten", "nothing"]}
    assert client.post("/towers/axes/query", json=asked).json() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert client.post("/towers/axes/document", json={"texts": ["dog"]}).json() == [[0, 1, 0, 0]]
    assert client.post("/towers/axes/other", json=asked).status_code == 422
    assert client.post("/towers/axes/query", json={"texts": ["x"] * 5}).json()["detail"].startswith("5 texts; this ser")


def test_another_model_s_vectors_are_not_given_nor_those_of_a_part_of_its_name(client: TestClient) -> None:
    for other in ("0123456789ab", "axe", "axess"):
        refused = client.post(f"/towers/{other}/query", json={"texts": ["kitten"]})
        assert (refused.status_code, refused.json()["type"]) == (404, "urn:hybrid-search:Unknown")
        assert "are of model axes" in refused.json()["detail"]


def test_a_key_that_may_search_may_have_texts_encoded(index: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key = {"authorization": f"Bearer {add_key(file, 'cluster', ('search',))}"}
    with served(index, keys=str(file)) as client:
        assert client.post("/towers/axes/query", json={"texts": ["kitten"]}).status_code == 401
        assert client.get("/towers/axes/").status_code == 401
        assert client.post("/towers/axes/query", json={"texts": ["kitten"]}, headers=key).status_code == 200
