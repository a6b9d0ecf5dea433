"""How far a load came is kept at its beginning, now and then, and at its end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from loopback import Asked, loopback

import mappings
from hybrid_search.engines.opensearch import companion_index
from hybrid_search.engines.opensearch.connecting import connected
from hybrid_search.engines.opensearch.connection import Connection
from hybrid_search.workflows import load_progress as module
from hybrid_search.workflows.load_progress import load_progress

WRITTEN = (200, {"errors": False, "items": []})


def entries_in(asked: list[Asked]) -> list[dict[str, Any]]:
    bodies = [one.body for one in asked if one.path.endswith("/_bulk")]
    return [json.loads(line) for body in bodies for line in body.splitlines() if b'"create"' not in line]


def engine_at(address: Any) -> Any:
    return SimpleNamespace(place=SimpleNamespace(asked=address, address=address.at("passages-000002")))


def test_documents_are_counted_from_what_was_there_before_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companion_index, "_LINGER", 0.01)
    monkeypatch.setattr(module, "EVERY", 0.0)
    with loopback(always=WRITTEN) as server, connected(Connection()):
        with load_progress(engine_at(server.address), "passages", 1_000) as kept:
            kept.reached(1_500)
            kept.reached(2_000)
        told = entries_in(server.asked)
        paths = {one.path for one in server.asked}
    assert paths == {"/passages-statistics", "/passages-statistics/_bulk"}
    assert [entry["documents"] for entry in told] == [1_000, 1_500, 2_000, 2_000]
    assert {(entry["kind"], entry["index"]) for entry in told} == {("load", "passages-000002")}
    assert len({entry["load"] for entry in told}) == 1
    declared = mappings.render("index/statistics")["mappings"]["properties"].keys()
    assert all(entry.keys() <= declared for entry in told)


def test_a_load_that_fails_keeps_what_it_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: Any) -> None:
        with load_progress(engine_at(address), "passages", 0) as kept:
            kept.reached(300)
            raise RuntimeError("killed")

    monkeypatch.setattr(companion_index, "_LINGER", 0.01)
    with loopback(always=WRITTEN) as server, connected(Connection()):
        with pytest.raises(RuntimeError, match="killed"):
            fail(server.address)
        told = entries_in(server.asked)
    assert [entry["documents"] for entry in told] == [0, 300]


def test_nothing_is_opened_where_nothing_is_kept() -> None:
    with load_progress(SimpleNamespace(), "", 0) as kept:
        kept.reached(5)
