"""Loading over an index and checking one: nothing is lost before the new one is there, and damage is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Home
from node.server import Server

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.tower_files import companion_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import (
    ConfigError,
    CorruptIndex,
    DataError,
    IndexExists,
    ModelError,
    ModelNotFound,
    UsageError,
)
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.location import Address
from hybrid_search.models import inspect_index
from hybrid_search.opening import open_retriever
from hybrid_search.types import Rejection


@pytest.fixture
def index(home: Home, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home.index, tmp_path / "index"))


def opened(path: Path):
    return open_dataset("jsonl", path, reject=lambda rejection: None)


def corpus(folder: Path, *texts: str) -> Path:
    folder.mkdir()
    lines = [json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(
    ("options", "model", "error"),
    [
        (LoadOptions(recreate=True), "nope", ModelError),
        (LoadOptions(recreate=True, faiss="Foo"), None, ConfigError),
    ],
)
def test_recreate_with_a_wrong_argument_leaves_the_index(
    home: Home, index: Path, options: LoadOptions, model: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        load(opened(home.data), index, model=Path(model) if model else None, options=options)
    assert inspect_index(str(index), verify=True)["documents"] == 150
    assert [path.name for path in index.parent.iterdir()] == ["index"]


def test_recreate_from_nothing_leaves_the_index(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no documents in it"):
        load(opened(corpus(tmp_path / "empty")), index, options=LoadOptions(recreate=True))
    assert inspect_index(str(index))["documents"] == 150


def test_recreate_from_refused_documents_leaves_the_index(index: Path, tmp_path: Path) -> None:
    data = corpus(tmp_path / "blank")
    (data / "documents.jsonl").write_text(json.dumps({"id": "a", "text": "t", "metadata": {"year": "old"}}) + "\n")
    rejected: list[Rejection] = []
    options = LoadOptions(recreate=True, fields={"year": "long"})
    with pytest.raises(DataError, match=r"none of its documents could be indexed.* is as it was"):
        load(opened(data), index, options=options, reject=rejected.append)
    assert len(rejected) == 1
    assert inspect_index(str(index))["documents"] == 150


def test_recreate_replaces_the_index_and_its_settings(home: Home, index: Path, tmp_path: Path) -> None:
    data = corpus(tmp_path / "data", "one", "two")
    # The model may be the one in the index that goes.
    options = LoadOptions(recreate=True, faiss="Flat")
    report = load(opened(data), index, model=index / "model", options=options)
    assert (report.location, report.documents, report.read) == (str(index), 2, report.read)
    described = inspect_index(str(index), verify=True)
    assert (described["documents"], described["faiss"]) == (2, "Flat")


def test_another_factory_than_the_index_has_is_refused(home: Home, index: Path) -> None:
    with pytest.raises(IndexExists, match="the index has faiss auto, asked for HNSW32"):
        load(opened(home.data), index, options=LoadOptions(faiss="HNSW32"))
    assert load(opened(home.data), index).unchanged == 150


def test_verify_tells_of_a_damaged_model_and_a_damaged_cache_together(index: Path) -> None:
    tower = index / "model" / "query.onnx"
    tower.write_bytes(tower.read_bytes()[:-1] + b"\x00\x01")
    postings = index / "forward" / "postings.u64"
    postings.write_bytes(b"\xff" + postings.read_bytes()[1:])
    for _ in range(2):  # the first has not repaired it
        with pytest.raises(CorruptIndex, match=r"forward: .*hybrid-search repair.*query\.onnx has SHA-256") as caught:
            inspect_index(str(index), verify=True)
    assert caught.value.exit_code == 4


def test_recreate_without_a_model_takes_the_indexes_own_towers(home: Home, index: Path, tmp_path: Path) -> None:
    fingerprint = inspect_index(str(index))["fingerprint"]
    data = corpus(tmp_path / "data", "knead the dough", "high water")
    told = home.run("load", "jsonl", "--path", data, "--to", index, "--recreate", "--format", "json")
    assert told.code == 0, told.err
    assert (told.json["documents"], told.json["fingerprint"]) == (2, fingerprint)
    with EmbeddedEngine.open(index) as engine:
        assert engine.stats()["vectors"] == 2
    found = home.run("query", "knead the dough", "--from", index, "--mode", "knn", "--format", "json")
    assert found.json["hits"][0]["id"] == "d0"


def test_without_its_towers_an_index_with_vectors_is_neither_recreated_nor_added_to(
    home: Home, index: Path, tmp_path: Path
) -> None:
    shutil.rmtree(index / "model")
    data = corpus(tmp_path / "data", "one")
    for options in (LoadOptions(recreate=True), LoadOptions()):
        with pytest.raises(ModelNotFound, match="and not that model's towers; give model=PATH"):
            load(opened(data), index, options=options)
    assert inspect_index(str(index))["documents"] == 150
    assert load(opened(data), index, model=home.model).documents == 151


@pytest.mark.opensearch
def test_recreate_on_a_server_takes_the_indexes_own_towers_or_is_refused(
    home: Home, opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location, data = f"{opensearch_server.location}/recreated", corpus(tmp_path / "data", "knead the dough", "ebb")
    OpenSearchEngine.drop(location)
    fingerprint = load(opened(home.data), location, model=home.model).fingerprint
    report = load(opened(data), location, options=LoadOptions(recreate=True))
    assert (report.documents, report.fingerprint) == (2, fingerprint)
    with OpenSearchEngine.open(location) as engine:
        assert engine.stats()["vectors"] == 2
        assert engine.model_folder() is not None
    with closing(Client(Address.parse(location))) as client:
        client.call("DELETE", f"/{companion_of(fingerprint)}")
    with pytest.raises(ModelNotFound, match="give model=PATH"):
        load(opened(data), location, options=LoadOptions(recreate=True))
    with OpenSearchEngine.open(location) as engine:
        assert engine.count() == 2
    OpenSearchEngine.drop(location)


@pytest.mark.parametrize("recreate", [False, True])
@pytest.mark.parametrize("lines", ["", json.dumps({"id": "a", "text": "t", "metadata": {"year": "old"}})])
def test_a_load_that_takes_no_document_leaves_no_index(tmp_path: Path, lines: str, recreate: bool) -> None:
    data = corpus(tmp_path / "data")
    (data / "documents.jsonl").write_text(lines)
    options = LoadOptions(lexical_only=True, fields={"year": "long"}, recreate=recreate)
    with pytest.raises(DataError, match=r"there are no documents in it|could be indexed.*; no index was made"):
        load(opened(data), str(tmp_path / "index"), options=options)
    assert not (tmp_path / "index").exists()


def test_towers_that_are_gone_are_told_by_everything_that_would_need_them(index: Path) -> None:
    assert inspect_index(str(index))["towers"] == "stored"
    (index / "model").rename(index.parent / "taken-away")
    with pytest.raises(CorruptIndex, match=r"model is missing: the towers of model \w+.*recreate=True and model=PATH"):
        inspect_index(str(index), verify=True)
    assert inspect_index(str(index))["towers"].startswith("missing")
    with open_retriever(index) as retriever:
        for mode in ("hybrid", "knn"):
            with pytest.raises(UsageError, match=r"not stored with it \(any more\); give the model"):
                retriever.search("honey", mode=mode)
        retriever.search("honey", mode="bm25")
    asked = runner_of("query", "honey", "--from", str(index))
    assert (asked.returncode, asked.stdout) == (5, "")
    assert "not the towers that made them" in asked.stderr
    (index.parent / "taken-away").rename(index / "model")
    assert runner_of("query", "honey", "--from", str(index)).returncode == 0


def runner_of(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hybrid_search", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
