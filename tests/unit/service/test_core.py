"""The index is replaced as a whole while requests run, and stays where it can't be."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder
from service_app import opening, served

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ConfigError, IndexNotFound
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.core import Service, own_threads
from hybrid_search.service.keys import ApiKeys, add_key
from hybrid_search.settings.service import ServiceOptions
from hybrid_search.types import Document


def count(retriever: Retriever) -> int:
    return retriever.engine.count()


def test_a_request_ends_with_the_index_that_it_began_with_and_the_next_has_the_new_one(
    index: Path, tmp_path: Path
) -> None:
    live, other = tmp_path / "live", tmp_path / "other"
    with EmbeddedEngine.create(other, AXIS_SETTINGS) as engine:
        Retriever(AxisEncoder(), engine).add([Document("only", "tree")])
    live.symlink_to(index)
    service = Service(str(live), opening(live), ServiceOptions(), writes=False)
    service.open()
    begun, go = threading.Event(), threading.Event()

    def slow(retriever: Retriever) -> int:
        begun.set()
        go.wait(10)
        return count(retriever)

    async def asked() -> tuple[int, int]:
        running = asyncio.create_task(service.read(slow))
        await asyncio.to_thread(begun.wait)
        live.unlink()
        live.symlink_to(other)
        assert await asyncio.to_thread(service.reload)
        after = await service.read(count)
        go.set()
        return await running, after

    assert asyncio.run(asked()) == (5, 1)
    service.close()


def test_an_index_that_can_not_be_opened_again_stays_as_it_was(index: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.symlink_to(index)
    with served(live) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        live.unlink()
        assert not service.reload()
        assert client.post("/search", json={"query": "kitten"}).status_code == 200


def test_a_writer_does_not_wait_for_itself(own_index: Path) -> None:
    with served(own_index, writable=True) as client:
        assert not client.app.state.service.reload()  # type: ignore[attr-defined]
        assert client.post("/documents", json={"documents": [{"id": "x", "text": "y"}]}).json()["added"] == 1


def test_an_index_that_is_not_there_is_said_before_anybody_is_served(tmp_path: Path) -> None:
    service = Service(str(tmp_path / "no"), opening(tmp_path / "no"), ServiceOptions(), writes=False)
    with pytest.raises(IndexNotFound):
        service.open()
    service.close()


def test_a_key_is_taken_away_while_the_service_runs(index: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    first = add_key(file, "first", ("search",))
    with served(index, keys=str(file)) as client:
        assert client.get("/stats", headers={"authorization": f"Bearer {first}"}).status_code == 200
        file.unlink()
        second = add_key(file, "second", ("search",))
        client.app.state.service.reload()  # type: ignore[attr-defined]
        assert client.get("/stats", headers={"authorization": f"Bearer {first}"}).status_code == 401
        assert client.get("/stats", headers={"authorization": f"Bearer {second}"}).status_code == 200


@pytest.mark.parametrize(
    "text", ["", "x", "[a]\nsha256 = 3", '[a]\nsha256 = "12"', '[a]\nsha256 = "x"\nmay = ["all"]', "a = 1", "\x00"]
)
def test_a_file_that_is_none_of_keys_lets_nobody_in_by_mistake(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.toml"):
        ApiKeys.read(str(file))


def test_threads_that_search_a_folder_are_a_processs_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert [own_threads("./index", workers) for workers in (1, 2, 6, 12)] == [12, 6, 2, 2]
    assert own_threads("opensearch://localhost:9200/passages", 4) == 32, "they wait for the network"
