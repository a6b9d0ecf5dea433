"""A copy of an index is what the index was at one moment, and can be put back."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import hybrid_search
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import IndexExists, IndexLocked, IndexNotFound, UnsupportedCapability, UsageError
from hybrid_search.settings.index import IndexSettings
from hybrid_search.storage import check_writable
from hybrid_search.types import Document


@pytest.fixture
def index(tmp_path):
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=2, fingerprint="towers")) as engine:
        engine.add([Document("a", "flea", metadata={"n": 1}), Document("b", "cat")], np.eye(2, dtype=np.float32))
        engine.commit()
    return tmp_path / "index"


def ids(folder):
    with EmbeddedEngine.open(folder) as engine:
        assert engine.verify() == []
        return [document.id for document in engine.documents()]


def test_a_copy_is_an_index_with_the_same_documents_settings_and_towers(index, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with EmbeddedEngine.open(index, writable=True) as engine:
        engine.store_model([tmp_path / "model.json"])
        assert hybrid_search.backup(index, tmp_path / "copy") == 2
        settings = engine.settings
    with EmbeddedEngine.open(tmp_path / "copy") as copy:
        assert copy.settings == settings
        assert list(copy.documents()) == [Document("a", "flea", metadata={"n": 1}), Document("b", "cat")]
        assert (copy.model_folder() / "model.json").read_text() == "{}"
        assert copy.verify() == []


def test_what_is_committed_meanwhile_is_in_the_copy_whole_or_not_at_all(index, tmp_path):
    pairs = [[Document(f"{side}{number}", "flea") for side in "xy"] for number in range(12)]
    with EmbeddedEngine.open(index, writable=True) as engine:

        def write():
            for pair in pairs:
                engine.add(pair, None)
                engine.commit()

        writer = threading.Thread(target=write)
        writer.start()
        copies = [tmp_path / f"copy-{number}" for number in range(2)]
        for copy in copies:
            hybrid_search.backup(index, copy)
        writer.join()
    counts = [len(ids(copy)) for copy in copies]
    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts)


def test_a_copy_is_put_in_the_place_of_an_index_or_where_there_is_none(index, tmp_path):
    hybrid_search.backup(index, tmp_path / "copy")
    with EmbeddedEngine.open(index, writable=True) as engine:
        engine.delete(["a"])
        engine.commit()
        with pytest.raises(IndexLocked):
            hybrid_search.restore(tmp_path / "copy", index)
    assert ids(index) == ["b"]
    assert hybrid_search.restore(tmp_path / "copy", index) == 2
    assert hybrid_search.restore(tmp_path / "copy", tmp_path / "new") == 2
    assert ids(index) == ids(tmp_path / "new") == ids(tmp_path / "copy") == ["a", "b"]


def test_a_copy_goes_over_nothing_and_a_server_has_snapshots_of_its_own(index, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(IndexExists):
        hybrid_search.backup(index, copied(index, tmp_path))
    with pytest.raises(UsageError, match=r"holds other files \(letter.txt\)"):
        hybrid_search.backup(index, tmp_path / "mine")
    with pytest.raises(UsageError, match="is the index itself"):
        hybrid_search.backup(index, index)
    with pytest.raises(IndexNotFound):
        hybrid_search.restore(tmp_path / "nosuch", index)
    with pytest.raises(UnsupportedCapability):
        hybrid_search.backup("opensearch://localhost:9200/passages", tmp_path / "x")
    assert ids(index) == ["a", "b"]


def test_no_index_is_spoilt_by_what_is_put_inside_it(index, tmp_path):
    hybrid_search.backup(index, tmp_path / "copy")
    (tmp_path / "link").symlink_to(index)
    inside = [index / "inside", tmp_path / "link" / "lexical" / "inside", index / ".." / "index" / "inside"]
    for place in inside:
        for put in (
            lambda place: hybrid_search.backup(index, place),
            lambda place: hybrid_search.restore(tmp_path / "copy", place),
            lambda place: hybrid_search.restore(place, tmp_path / "new"),
            lambda place: hybrid_search.create(place),
            lambda place: EmbeddedEngine.create(place, IndexSettings()),
            lambda place: check_writable(place / "run.trec"),
        ):
            with pytest.raises(
                (UsageError, IndexNotFound), match=r"lies inside the index .*index, which|no index here"
            ):
                put(place)
    assert ids(index) == ["a", "b"]
    assert not any(path.name == "inside" for path in index.rglob("*"))


def copied(index, tmp_path):
    hybrid_search.backup(index, tmp_path / "copy")
    return tmp_path / "copy"
