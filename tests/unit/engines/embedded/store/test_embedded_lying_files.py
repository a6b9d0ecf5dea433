"""Numbers in an index that lie, with checksums that match them: nothing is believed, no memory is taken for them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.repair import damage, repair
from hybrid_search.errors import CorruptIndex, HybridSearchError
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
    return tmp_path / "index"


def found(folder: Path) -> list[str]:
    with Retriever(AxisEncoder(), EmbeddedEngine.open(folder)) as retriever:
        return sorted(hit.id for hit in retriever.search("cat dog", 10, filter="lang = en"))


def change(manifest: Path, lie: Callable[[dict[str, Any]], object]) -> None:
    body = json.loads(json.loads(manifest.read_text())["body"])
    lie(body)
    text = json.dumps(body)
    manifest.write_text(json.dumps({"body": text, "checksum": zlib.crc32(text.encode())}))


@pytest.mark.parametrize(
    "lie",
    [
        lambda body: body["files"].update({"rows.bin": [-8, 0]}),
        lambda body: body.update(last_row=-5),
        lambda body: body.update(generation=1 << 62),
        lambda body: body.update(extra={"documents": "many", "terms": []}),
        lambda body: body.update(extra={}),
    ],
)
def test_a_manifest_that_lies_is_built_again(folder: Path, lie: Callable[[dict[str, Any]], object]) -> None:
    change(folder / "forward" / "manifest.json", lie)
    assert found(folder) == ["d1", "d2"]


@pytest.mark.parametrize("end", [1 << 63, 1 << 40, 0])
def test_rows_that_end_outside_the_postings_are_built_again(folder: Path, end: int) -> None:
    path = folder / "forward" / "rows.bin"
    rows = np.fromfile(path, np.dtype([("end", "<u8"), ("length", "<u4")]))
    rows["end"][-2] = end
    rows.tofile(path)
    data = path.read_bytes()
    change(path.parent / "manifest.json", lambda body: body["files"].update({path.name: [len(data), zlib.crc32(data)]}))
    assert found(folder) == ["d1", "d2"]


@pytest.mark.parametrize(
    "lie",
    [
        lambda meta: meta.update(segments=meta["segments"] * 1000),
        lambda meta: meta.update(schema=[]),
        lambda meta: meta["segments"][0].update(max_doc=1 << 31),
        lambda meta: meta["segments"][0].update(max_doc=meta["segments"][0]["max_doc"] + 1),
        lambda meta: meta["segments"][0].update(max_doc=0),
        lambda meta: meta["segments"][0].update(deletes={"num_deleted_docs": 1, "opstamp": 3}),
    ],
)
def test_a_list_of_segments_that_lies_is_told_by_verify_and_mended_by_repair(
    folder: Path, lie: Callable[[dict[str, Any]], object]
) -> None:
    with Retriever(AxisEncoder(), EmbeddedEngine.open(folder, writable=True)) as retriever:
        retriever.delete(["d1"])
    path = folder / "lexical" / "meta.json"
    meta = json.loads(path.read_text())
    lie(meta)
    path.write_text(json.dumps(meta))
    data = path.read_bytes()
    change(path.parent / "manifest.json", lambda body: body["files"].update({path.name: [len(data), zlib.crc32(data)]}))
    (folder / "manifest.json").unlink()
    told = damage(folder)
    try:
        answer = found(folder)
    except HybridSearchError as error:
        answer = [str(error)]
    assert answer == ["d2"] or "hybrid-search repair" in answer[0]
    assert answer == ["d2"] or any("hybrid-search repair" in problem for problem in told)
    repair(folder)
    assert found(folder) == ["d2"]
    assert damage(folder) == []


@pytest.mark.parametrize(("key", "value"), [("next_row", -3), ("next_row", 1 << 60), ("generation", -1)])
def test_counters_that_nothing_can_have_are_told(folder: Path, key: str, value: int) -> None:
    (folder / "manifest.json").unlink()
    with sqlite3.connect(folder / "documents.sqlite") as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    connection.close()
    with pytest.raises(CorruptIndex, match="counters are damaged"):
        found(folder)


def test_a_document_behind_the_last_row_takes_no_memory_for_the_rows_between(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with sqlite3.connect(folder / "documents.sqlite") as connection:
        connection.execute("UPDATE documents SET row = row + (1 << 50) WHERE id = 'd2'")
    connection.close()
    (folder / "forward" / "manifest.json").unlink()
    with pytest.raises(CorruptIndex, match="behind the last one given out"):
        found(folder)


def test_a_cache_whose_folder_is_a_link_is_not_read_through_it(folder: Path, tmp_path: Path) -> None:
    (folder / "dense").rename(tmp_path / "elsewhere")
    (folder / "dense").symlink_to(tmp_path / "elsewhere")
    before = {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    assert found(folder) == ["d1", "d2"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == before


def test_a_vector_of_another_size_is_told_without_being_read(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with sqlite3.connect(folder / "documents.sqlite") as connection:
        zeros = zlib.crc32(bytes(90_000_000))
        connection.execute("UPDATE vectors SET vector = zeroblob(90000000), checksum = ? WHERE row < 3", (zeros,))
    connection.close()
    (folder / "dense" / "manifest.json").unlink()
    tracemalloc.start()
    with pytest.raises(CorruptIndex, match="vector"):
        found(folder)
    assert any("vector" in problem for problem in damage(folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_vectors_that_can_not_be_added_to_what_was_saved_are_indexed_again(folder: Path) -> None:
    path = next((folder / "dense").glob("*.faiss"))
    index = faiss.read_index(str(path))
    index.is_trained = False
    faiss.write_index(index, str(path))
    data = path.read_bytes()
    change(path.parent / "manifest.json", lambda body: body["files"].update({path.name: [len(data), zlib.crc32(data)]}))
    (folder / "manifest.json").unlink()
    with Retriever(AxisEncoder(), EmbeddedEngine.open(folder, writable=True)) as retriever:
        retriever.add([Document("new", "cat")])
        assert "new" in {hit.id for hit in retriever.search("cat", 10, mode="knn")}


def test_a_terabyte_of_nothing_behind_the_pages_of_a_database_is_cut_off(folder: Path) -> None:
    database = folder / "documents.sqlite"
    size = database.stat().st_size
    os.truncate(database, 1 << 40)  # sparse: nothing of it is on the disk
    with pytest.raises(CorruptIndex):
        EmbeddedEngine.open(folder)
    repair(folder)
    EmbeddedEngine.open(folder, writable=True).close()  # a checksum of all of it would take an hour
    assert database.stat().st_size <= 2 * size
    assert found(folder) == ["d1", "d2"]


def test_a_text_that_takes_more_memory_than_there_is_is_told_as_that(folder: Path) -> None:
    code = """
import resource, sqlite3, sys
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import StorageError
with sqlite3.connect(sys.argv[1] + "/documents.sqlite") as connection:
    connection.execute("UPDATE documents SET text = zeroblob(300000000) WHERE id = 'd1'")
connection.close()
engine = EmbeddedEngine.open(sys.argv[1])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, -1))
try:
    engine.get(["d1"])
except StorageError as error:
    print(error)
"""
    (folder / "manifest.json").unlink()  # as after a kill
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60)
    assert "a document takes more memory than there is" in done.stdout, done.stderr
