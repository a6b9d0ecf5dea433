"""Three nodes, three shards, one copy of each: a node is killed in the middle of a load, and the loader itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Home
from corpus import assert_holds, made_documents, write_corpus
from killing import Loader
from node.cluster import LocalCluster
from node.faulty import Fault, FaultyServer, bulk_of
from node.maven import Unavailable
from node.plugin import without_server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.template import ServerOptions
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.target import settings_of_new
from hybrid_search.location import Address
from hybrid_search.protocols import Encoder
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

pytestmark = [pytest.mark.opensearch, pytest.mark.opensearch_cluster]

INDEX = "passages"
DOCUMENTS = made_documents(3_000, seed=3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    try:
        cluster = LocalCluster()
    except Unavailable as error:
        without_server(str(error))
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def encoder(home: Home) -> Encoder:
    return OnnxEncoder.load(home.model)


@pytest.fixture
def location(cluster: LocalCluster, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty index on all nodes, by the address of the elected one."""
    manager = cluster.urls[cluster.manager()]
    others = [url.removeprefix("http://") for url in cluster.urls if url != manager]
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENSEARCH_HOSTS", ",".join(others))
    location = f"{manager.replace('http://', 'opensearch://')}/{INDEX}"
    settings = settings_of_new(home.model, LoadOptions())
    OpenSearchEngine.create(location, settings, options=ServerOptions(shards=3, replicas="1")).close()
    cluster.wait()
    yield location
    OpenSearchEngine.drop(location)


def settings_at(location: str) -> dict[str, str]:
    with closing(Client(Address.parse(location))) as client:
        settings: dict[str, str] = client.call("GET", f"/{INDEX}/_settings")[INDEX]["settings"]["index"]
    return settings


def documents_of_copies(location: str) -> dict[str, int]:
    """Shard and ``p`` for primary or ``r`` for replica -> documents."""
    with closing(Client(Address.parse(location))) as client:
        client.call("POST", f"/{INDEX}/_refresh")
        rows = client.call("GET", f"/_cat/shards/{INDEX}", h="shard,prirep,docs", format="json")
    return {row["shard"] + row["prirep"]: int(row["docs"]) for row in rows}


def test_the_loader_is_killed_and_resumes(
    cluster: LocalCluster, location: str, home: Home, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = settings_at(location)
    monkeypatch.delenv("OPENSEARCH_HOSTS")  # so that all goes through the proxy
    corpus = write_corpus(tmp_path / "documents.jsonl", DOCUMENTS, bad=7)
    with FaultyServer(cluster.urls[cluster.manager()], meant=bulk_of(INDEX)) as proxy:
        loader = Loader(home, corpus.file, f"{proxy.location}/{INDEX}", tmp_path)
        proxy.follow(loader.killed_at(random.Random(11).randrange(2, 4), Fault.DROP_AFTER))
        assert loader.run() == -9
        assert loader.run("--resume", "--allow-rejected", "0") == 3  # there are bad ones
    assert settings_at(location) == before
    assert_holds(location, DOCUMENTS, encoder)


def test_a_node_is_killed_in_the_middle_of_a_load(
    cluster: LocalCluster, location: str, home: Home, encoder: Encoder
) -> None:
    before = settings_at(location)
    manager = cluster.manager()

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS[:1_700]
        cluster.kill(manager)  # and the address that the load was given is the manager's
        yield from DOCUMENTS[1_700:]

    report = load(Corpus("made", documents), location, model=home.model)
    assert (report.added, report.rejected, report.documents) == (3_000, 0, 3_000)
    assert_holds(location, DOCUMENTS, encoder)
    assert settings_at(location) == before
    cluster.start(manager)
    cluster.wait()
    copies = documents_of_copies(location)
    assert len(copies) == 6
    assert copies["0p"] + copies["1p"] + copies["2p"] == 3_000
    assert all(copies[f"{shard}p"] == copies[f"{shard}r"] for shard in range(3))
