"""Loading over an index and checking one: nothing is lost before the new one is there, and damage is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Home

from hybrid_search.errors import ConfigError, CorruptIndex, DataError, IndexExists, ModelError
from hybrid_search.types import Rejection
from hybrid_search.workflows.inspecting import inspect_index
from hybrid_search.workflows.loading import LoadOptions, load
from loaders.registry import open_dataset


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
    with pytest.raises(DataError, match=r"no documents, so .*index stays as it was"):
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
