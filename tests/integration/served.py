"""An index whose towers a test deploys, two checkpoints for it, and all that a deployment touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from in_cluster import plain
from made_models import make_model
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.in_cluster.deploy import undeploy
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

__all__ = ["DOCUMENTS", "HYBRID", "Towers", "fill", "ids", "index", "state_of", "towers"]

DOCUMENTS = [
    Document("tides", "the moon pulls the sea and the harbour falls dry"),
    Document("bread", "knead the dough and bake a loaf", title="flour and yeast"),
    Document("bees", "honey in the comb of a hive"),
]
HYBRID = {"hybrid": {"queries": [
    {"match": {"searchable": "honey"}}, {"neural": {"vector": {"query_text": "honey", "k": 5}}},
]}}  # fmt: skip


@dataclass(frozen=True)
class Towers:
    """Two checkpoints."""

    first: Path
    second: Path


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Towers]:
    folder = tmp_path_factory.mktemp("towers")
    texts = [document.searchable_text for document in DOCUMENTS]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HYBRID_SEARCH_CACHE", str(folder / "cache"))
        yield Towers(make_model(folder / "one", texts, seed=1), make_model(folder / "two", texts, seed=2))


def fill(location: str, model: Path) -> str:
    encoder = OnnxEncoder.load(model, threads=1)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint)
    with OpenSearchEngine.create(location, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        Retriever(encoder, engine).add(DOCUMENTS)
    return location


@pytest.fixture
def index(ml_server: Server, towers: Towers) -> Iterator[str]:
    """An index of the first towers on a server that has nothing else of ours."""
    location = fill(f"{ml_server.location}/served", towers.first)
    yield location
    undeploy(location)
    OpenSearchEngine.drop(location)


def state_of(url: str, index: str = "served") -> dict[str, Any]:
    """All that a deployment touches; the server's own clocks and counters left out."""
    named = {"query": {"prefix": {"name.keyword": "hybrid-search-"}}}
    everything = {"query": {"exists": {"field": "model_state"}}, "_source": ["name", "model_state"], "size": 100}
    settings = plain(url, "GET", f"/{index}/_settings?flat_settings=true").body[index]["settings"]
    return {
        "settings": {name: value for name, value in settings.items() if "pipeline" in name},
        "meta": plain(url, "GET", f"/{index}/_mapping").body[index]["mappings"]["_meta"],
        "mapping": plain(url, "GET", f"/{index}/_mapping").body[index]["mappings"]["properties"],
        "ingest": plain(url, "GET", "/_ingest/pipeline").body,
        "search": plain(url, "GET", "/_search/pipeline").body,
        "scripts": plain(url, "GET", f"/_scripts/hybrid-search-{index}").body,
        "cluster": plain(url, "GET", "/_cluster/settings").body,
        "groups": ids(plain(url, "POST", "/_plugins/_ml/model_groups/_search", named).body),
        "models": ids(plain(url, "POST", "/_plugins/_ml/models/_search", everything).body),
    }


def ids(answer: Mapping[str, Any]) -> set[str]:
    return {hit["_id"] for hit in answer.get("hits", {}).get("hits", ())}
