"""Caches that disagree with the documents are built again: at the next opening, or by ``repair``."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from asked import by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine, damage
from hybrid_search.errors import CorruptIndex, UnsupportedCapability
from hybrid_search.indexes import repair_index
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

SETTINGS = IndexSettings(dimension=2, fingerprint="towers")
ONE = np.array([[1, 0]], np.float32)
CACHES = ("lexical", "forward", "dense")


def fill(folder: Path, *ids: str) -> None:
    with EmbeddedEngine.create(folder, SETTINGS) as engine:
        engine.add([Document(id, f"text {id}") for id in ids], np.repeat(ONE, len(ids), axis=0))
        engine.commit()


def take_caches(source: Path, target: Path) -> None:
    for cache in CACHES:
        shutil.rmtree(target / cache)
        shutil.copytree(source / cache, target / cache)


def everything(folder: Path) -> tuple[list[str], ...]:
    with EmbeddedEngine.open(folder) as engine:
        found = (by_text(engine, ["text"], 99)[0], by_vector(engine, ONE, 99)[0])
        return [document.id for document in engine.documents()], *(list(ranking.ids) for ranking in found)


@pytest.mark.parametrize("writable", [False, True])
def test_caches_of_too_few_documents_are_built_again_at_opening(tmp_path: Path, writable: bool) -> None:
    """Each is sound in itself and of the right generation, but of another index: what a race once left."""
    fill(tmp_path / "index", "a", "b", "c")
    fill(tmp_path / "other", "a", "b")
    take_caches(tmp_path / "other", tmp_path / "index")
    assert any("instead of 3" in problem for problem in damage(tmp_path / "index"))
    EmbeddedEngine.open(tmp_path / "index", writable=writable).close()
    assert everything(tmp_path / "index") == (["a", "b", "c"],) * 3


def test_caches_of_other_documents_are_found_by_verify_and_mended_by_repair(tmp_path: Path) -> None:
    """The counts are right, the rows are not."""
    fill(tmp_path / "index", "a", "b", "c")
    fill(tmp_path / "other", "a", "b", "c")
    for folder, gone in ((tmp_path / "index", "a"), (tmp_path / "other", "c")):
        with EmbeddedEngine.open(folder, writable=True) as engine:
            engine.delete([gone])
            engine.commit()
    take_caches(tmp_path / "other", tmp_path / "index")
    problems = damage(tmp_path / "index")
    assert [problem.split(";")[0] for problem in problems] == [
        "the lexical leg lacks 1 documents, and finds 1 that are not there",
        "the dense leg lacks 1 documents, and finds 1 that are not there",
    ]
    assert all(f"`hybrid-search repair {tmp_path / 'index'}`" in problem for problem in problems)
    told = repair_index(tmp_path / "index")
    assert (told["documents"], told["vectors"], told["mended"]) == (2, 2, [])
    assert damage(tmp_path / "index") == []
    assert everything(tmp_path / "index") == (["b", "c"],) * 3


def test_wrong_counts_are_mended_by_repair(tmp_path: Path) -> None:
    fill(tmp_path / "index", "a", "b", "c")
    (tmp_path / "index" / "manifest.json").unlink()
    connection = sqlite3.connect(tmp_path / "index" / "documents.sqlite")
    connection.execute("UPDATE meta SET value = 2 WHERE key IN ('documents', 'next_row')")
    connection.execute("DELETE FROM vectors WHERE row = 2")
    connection.commit()
    connection.close()
    assert [problem.split(";")[0] for problem in damage(tmp_path / "index")] == [
        "documents.sqlite: 3 documents, 2 were recorded",
        "documents.sqlite: 2 vectors, 3 were recorded",
        "documents.sqlite: row 3 is there, the next one was to be 2",
        "the lexical leg finds 3 documents instead of 2",
    ]
    assert len(repair_index(tmp_path / "index")["mended"]) == 3
    assert damage(tmp_path / "index") == []
    assert everything(tmp_path / "index") == (["a", "b", "c"], ["a", "b", "c"], ["a", "c"])


def test_repair_leaves_an_index_alone_whose_documents_are_damaged(tmp_path: Path) -> None:
    fill(tmp_path / "index", "a", "b", "c")
    (tmp_path / "index" / "manifest.json").unlink()
    connection = sqlite3.connect(tmp_path / "index" / "documents.sqlite")
    connection.execute("UPDATE documents SET text = 'something else' WHERE id = 'b'")
    connection.commit()
    connection.close()
    before = {path: path.read_bytes() for path in (tmp_path / "index" / "lexical").iterdir()}
    with pytest.raises(CorruptIndex, match="document 'b'"):
        repair_index(tmp_path / "index")
    assert {path: path.read_bytes() for path in (tmp_path / "index" / "lexical").iterdir()} == before


def test_repair_is_for_folders(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCapability):
        repair_index("opensearch://localhost:9200/passages")


def test_what_killed_writers_never_finished_goes_with_the_next_one_and_is_not_listed(tmp_path: Path) -> None:
    fill(tmp_path / "index", "a")
    left = [".writer.json.0123.part", ".manifest.json.4567.part", "dense/.vectors-1.npz.89.part", ".model.x1y2"]
    for name in left[:3]:
        (tmp_path / "index" / name).write_bytes(b"half")
    (tmp_path / "index" / left[3]).mkdir()
    (tmp_path / "index" / left[3] / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "index" / "lexical" / ".managed.json").stat()  # tantivy's own
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        assert not [name for name in engine.stats()["bytes"] if name.startswith(".")]
    assert not [name for name in left if (tmp_path / "index" / name).exists()]
    assert (tmp_path / "index" / "lexical" / ".managed.json").is_file()
    assert everything(tmp_path / "index") == (["a"],) * 3
