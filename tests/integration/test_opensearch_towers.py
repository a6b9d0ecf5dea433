"""The towers' files on a server, where others may write: what they change is never what an index is searched with."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from made_models import make_model
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.tower_files import companion_of, digest_of, record_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import CorruptIndex, CorruptModel
from hybrid_search.loading.load import load
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.opening import open_retriever
from hybrid_search.settings.index import Fusion
from hybrid_search.storage import sha256_of
from hybrid_search.towers.checkpoint import set_defaults
from hybrid_search.towers.model_card import (
    MODEL_FILE,
    SERVING_FILES,
    ServingDefaults,
    read_model_card,
    write_model_card,
)
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

NAME = "towers-tests"
DOCUMENTS = [Document("a", "the sea"), Document("b", "the bread")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [make_model(folder / f"model-{seed}", ["the sea", "the bread"], seed=seed) for seed in (1, 2)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "home" / "cache"))
    return tmp_path / "home" / "cache" / "towers"


@pytest.fixture
def location(opensearch_server: Server, models: list[Path], cache: Path) -> Iterator[str]:
    location = f"{opensearch_server.location}/{NAME}"
    OpenSearchEngine.drop(location)
    load(Corpus("made", lambda: iter(DOCUMENTS)), location, model=models[0])
    yield location
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client


@pytest.fixture
def companion(models: list[Path]) -> str:
    return companion_of(read_model_card(models[0]).fingerprint)


def records(model: Path) -> list[str]:
    """Return where the records of a model's files are: by its digest, and the last one stored."""
    return [record_of(digest_of([model / name for name in SERVING_FILES])), record_of("")]


def change(client: Client, companion: str, model: Path, **files: Any) -> None:
    """Do as another client does that may write into the towers' index."""
    for id in records(model):
        record = client.call("GET", f"/{companion}/_doc/{id}")["_source"]
        record["files"] |= files
        client.call("PUT", f"/{companion}/_doc/{id}", record, refresh="true")


def put_chunk(client: Client, companion: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    client.call("PUT", f"/{companion}/_doc/{digest}-0", {"chunk": base64.b64encode(data).decode()}, refresh="true")
    return {"sha256": digest, "chunks": 1}


def everything_in(folder: Path) -> set[Path]:
    """Return all files but the lock that processes fetch towers under, which stays."""
    return {path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(
    "name", ["{outside}/victim.txt", "../../../x.json", "..", "training.json", "sub/query.onnx", ""]
)
def test_a_record_that_names_another_file_than_a_models_is_refused_and_nothing_written(
    name: str, location: str, client: Client, companion: str, models: list[Path], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    change(client, companion, models[0], **{name.format(outside=outside): put_chunk(client, companion, b"evil")})
    before = everything_in(tmp_path)
    with pytest.raises(CorruptModel, match="no file of a model"):
        open_retriever(location)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    "file",
    [
        {"sha256": "0" * 64, "chunks": 10**9},
        {"sha256": "0" * 64, "chunks": -1},
        {"sha256": "../../../../_all/_doc/x", "chunks": 1},
        {"sha256": "0" * 64, "chunks": 1_024},  # together with the others more than a model may have
        {"sha256": "0" * 64},
        7,
    ],
)
def test_a_record_of_another_form_or_of_too_much_is_refused_before_anything_is_fetched(
    file: Any, location: str, client: Client, companion: str, models: list[Path], cache: Path
) -> None:
    change(client, companion, models[0], **{"query.onnx": file})
    with pytest.raises(CorruptModel, match=r"load once more with model=PATH, and look who may write"):
        open_retriever(location)
    assert not cache.exists()


def test_files_that_fit_their_record_are_refused_where_the_index_noted_others(
    location: str, client: Client, companion: str, models: list[Path]
) -> None:
    other = (models[1] / "query.onnx").read_bytes()
    change(client, companion, models[0], **{"query.onnx": put_chunk(client, companion, other)})
    with pytest.raises(CorruptModel, match="the towers there are not those of the index"):
        open_retriever(location)
    # What the message says mends it.
    assert load(Corpus("made", lambda: iter(DOCUMENTS)), location, model=models[0]).unchanged == 2
    with open_retriever(location) as retriever:
        assert retriever.search("the sea", 1)[0].id == "a"


@pytest.mark.parametrize("chunk", [base64.b64encode(b"x" * 100).decode(), "A" * (9 << 20), "", "AAAA" * 7])
def test_a_chunk_that_is_not_what_was_stored_is_refused(
    chunk: str, location: str, client: Client, companion: str, models: list[Path], cache: Path
) -> None:
    digest = sha256_of(models[0] / "tokenizer.json")
    client.call("PUT", f"/{companion}/_doc/{digest}-0", {"chunk": chunk}, refresh="true")
    with pytest.raises(CorruptModel, match=r"tokenizer\.json is not what was stored"):
        open_retriever(location)
    assert everything_in(cache) == set()


def test_another_model_under_the_same_fingerprint_is_refused_where_nothing_was_noted(
    location: str, client: Client, companion: str, models: list[Path], tmp_path: Path
) -> None:
    """An index of an earlier version: the weights themselves are compared with the fingerprint."""
    meta = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"]
    del meta["towers"]
    client.call("PUT", f"/{NAME}/_mapping", {"_meta": meta})
    with open_retriever(location) as retriever:
        assert retriever.search("the sea", 1)[0].id == "a"
    forged = Path(shutil.copytree(models[1], tmp_path / "forged"))
    card = read_model_card(forged)
    write_model_card(forged, card.replace(fingerprint=read_model_card(models[0]).fingerprint))
    files = {name: put_chunk(client, companion, (forged / name).read_bytes()) for name in SERVING_FILES}
    change(client, companion, models[0], **files)
    with pytest.raises(CorruptModel, match="changed together with their recorded hashes"):
        open_retriever(location)


@pytest.mark.parametrize("fingerprint", ["../../../x", "a/../../_all", "a b", "*", "0" * 200])
def test_a_fingerprint_that_is_none_becomes_no_path(
    fingerprint: str, location: str, client: Client, tmp_path: Path
) -> None:
    meta = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"]
    changed = {**meta, "hybrid_search": {**meta["hybrid_search"], "fingerprint": fingerprint}}
    before = everything_in(tmp_path)
    for forged in (changed, {**meta, "towers": fingerprint}):
        client.call("PUT", f"/{NAME}/_mapping", {"_meta": forged})
        with pytest.raises((CorruptIndex, CorruptModel)):
            open_retriever(location)
    client.call("PUT", f"/{NAME}/_mapping", {"_meta": meta})
    assert everything_in(tmp_path) == before


def test_what_somebody_changed_in_the_cache_is_fetched_again_and_no_link_is_written_through(
    location: str, cache: Path, tmp_path: Path
) -> None:
    open_retriever(location).close()
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (folder / "query.onnx").unlink()
    (folder / "query.onnx").symlink_to(victim)
    (folder / "tokenizer.json").write_text("{}")
    with open_retriever(location) as retriever:
        assert retriever.search("the sea", 1)[0].id == "a"
    assert victim.read_text() == "mine"
    assert not (folder / "query.onnx").is_symlink()


def test_two_indexes_of_one_model_keep_each_its_own_files(
    location: str, opensearch_server: Server, models: list[Path], tmp_path: Path
) -> None:
    tuned = Path(shutil.copytree(models[0], tmp_path / "tuned"))
    set_defaults(tuned, ServingDefaults(fusion=Fusion(window=77)))
    second = f"{opensearch_server.location}/{NAME}-2"
    OpenSearchEngine.drop(second)
    load(Corpus("made", lambda: iter(DOCUMENTS)), second, model=tuned)
    try:
        for place, model in ((location, models[0]), (second, tuned)):
            with OpenSearchEngine.open(place) as engine:
                folder = engine.model_folder()
                assert folder is not None
                assert json.loads((folder / MODEL_FILE).read_bytes()) == json.loads((model / MODEL_FILE).read_bytes())
    finally:
        OpenSearchEngine.drop(second)
