"""The same service over an index on a server, by an alias: it answers as the library does, and follows the alias."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_models import make_model
from node.server import Server
from services import NOTES, running

import hybrid_search
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.aliases import swap
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch


@pytest.fixture
def alias(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    server = opensearch_server.location
    for number, documents in enumerate((NOTES, [Document("new", "Rotate the key.")]), 1):
        model = make_model(tmp_path / f"model{number}", [one.searchable_text for one in NOTES], seed=number)
        with hybrid_search.create(f"{server}/service-{number}", model=model) as retriever:
            retriever.add(documents)
    _point(server, None, "service-1")
    yield f"{server}/service"
    for number in (1, 2):
        OpenSearchEngine.drop(f"{server}/service-{number}")


def _point(server: str, old: str | None, new: str) -> None:
    client = Client(Address.parse_server(server))
    try:
        swap(client, "service", old, new)
    finally:
        client.close()


def test_it_answers_as_the_library_adds_and_follows_the_alias_to_another_model(alias: str) -> None:
    server = alias.rpartition("/")[0]
    with running(alias, "--writable", "--workers", 2) as service:
        query = {"query": "rotate the key", "k": 3}
        with hybrid_search.open(alias) as retriever:
            expected = [(hit.id, pytest.approx(hit.score)) for hit in retriever.search("rotate the key", 3)]
        assert [(hit["id"], hit["score"]) for hit in service.ask("POST", "/search", query)[1]["hits"]] == expected
        added = {"documents": [{"id": "more", "text": "a further key"}]}
        assert service.ask("POST", "/documents", added) == (200, {"added": 1, "rejected": []})
        assert service.ask("GET", "/documents/more")[1]["text"] == "a further key"
        assert service.ask("DELETE", "/documents/more") == (200, {"deleted": 1})
        _point(server, "service-1", "service-2")
        deadline = time.monotonic() + 30
        while (found := service.ask("POST", "/search", query))[1]["hits"][0]["id"] != "new":
            assert found[0] == 200
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert service.ends() == 0
