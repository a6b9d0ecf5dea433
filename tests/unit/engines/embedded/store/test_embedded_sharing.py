"""One writer, many readers: locks, what a reader sees, and threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from asked import by_both, by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import IndexExists, IndexLocked, IndexNotFound, SearchIndexError, UsageError
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Document

SETTINGS = IndexSettings(dimension=2, fingerprint="towers")
ONE = np.array([[1, 0]], np.float32)


def add(engine: EmbeddedEngine, *ids: str) -> None:
    engine.add([Document(id, f"text {id}") for id in ids], np.tile(ONE, (len(ids), 1)))
    engine.commit()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hybrid_search.engines.embedded import EmbeddedEngine\n"
        "from hybrid_search.settings.index import IndexSettings\n"
        "engine = EmbeddedEngine.create(Path(sys.argv[1]), IndexSettings()); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "index")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(IndexLocked, match=rf"process {process.pid} on .* has been writing since \d{{4}}-"):
            EmbeddedEngine.open(tmp_path / "index", writable=True)
        with pytest.raises(IndexLocked, match=f"process {process.pid}"):
            EmbeddedEngine.drop(tmp_path / "index")
        EmbeddedEngine.open(tmp_path / "index").close()
        process.kill()
    EmbeddedEngine.open(tmp_path / "index", writable=True).close()


def test_two_writers_in_one_process_are_refused_too(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS), pytest.raises(IndexLocked):
        EmbeddedEngine.open(tmp_path / "index", writable=True)


def test_an_open_reader_sees_each_commit_at_its_next_search(tmp_path: Path) -> None:
    with (
        EmbeddedEngine.create(tmp_path / "index", SETTINGS) as writer,
        EmbeddedEngine.open(tmp_path / "index") as reader,
    ):
        for expected in (("a",), ("a", "b"), ("a", "b", "c")):
            add(writer, expected[-1])
            assert by_text(reader, ["text"], 9)[0].ids == expected
            assert by_vector(reader, ONE, 9)[0].ids == expected
        writer.delete(["b"])
        assert by_vector(reader, ONE, 9)[0].ids == ("a", "b", "c")
        writer.commit()
        assert by_text(reader, ["text"], 9)[0].ids == ("a", "c")
        assert by_vector(reader, ONE, 9)[0].ids == ("a", "c")
        assert reader.count() == 2


def test_a_reader_sees_fields_that_a_writer_declares(tmp_path: Path) -> None:
    with (
        EmbeddedEngine.create(tmp_path / "index", SETTINGS) as writer,
        EmbeddedEngine.open(tmp_path / "index") as reader,
    ):
        writer.add([Document("a", "text", metadata={"year": 1})], ONE)
        writer.commit()
        by_text(reader, ["text"], 1)
        assert reader.settings.fields == {"year": "long"}


def test_a_reader_can_not_write(tmp_path: Path) -> None:
    EmbeddedEngine.create(tmp_path / "index", SETTINGS).close()
    with EmbeddedEngine.open(tmp_path / "index") as reader:
        for call in (lambda: reader.add([], None), lambda: reader.delete(["a"]), reader.commit):
            with pytest.raises(UsageError, match="writable=True"):
                call()


def test_searches_run_beside_commits_without_errors_or_halves(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as engine:
        add(engine, "000")
        stop = threading.Event()

        def search() -> int:
            count = 0
            while not stop.is_set():
                lexical, dense = by_text(engine, ["text"], 500)[0], by_vector(engine, ONE, 500)[0]
                assert len(set(lexical.ids)) == len(lexical)
                assert len(dense) >= len(lexical) >= 1
                assert by_both(engine, ["text"], ONE, 3)[0]
                count += 1
            return count

        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(search) for _ in range(3)]
            for number in range(1, 15):
                add(engine, f"{number:03}", "000")
            stop.set()
            assert all(future.result() > 0 for future in running)
        assert engine.count() == 15
        assert engine.verify() == []


def test_a_document_that_another_writer_replaces_before_its_text_is_read_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as writer:
        add(writer, "000")
        with EmbeddedEngine.open(tmp_path / "index") as reader:
            read = reader._store.documents_at

            def replaced_first(rows: list[int]) -> list[Document | None]:
                monkeypatch.undo()
                add(writer, "000")
                return read(rows)

            monkeypatch.setattr(reader._store, "documents_at", replaced_first)
            assert [hit.id for hit in by_both(reader, ["text"], ONE, 3)[0]] == ["000"]


def test_what_was_not_committed_is_dropped_at_close(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as engine:
        add(engine, "kept")
        engine.add([Document("dropped", "text", metadata={"new": 1})], ONE)
        engine.delete(["kept"])
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as engine:
        assert [document.id for document in engine.documents()] == ["kept"]
        assert engine.settings.fields == {}


def test_a_closed_index_says_so(tmp_path: Path) -> None:
    engine = EmbeddedEngine.create(tmp_path / "index", SETTINGS)
    engine.close()
    engine.close()
    with pytest.raises(UsageError, match="is closed"):
        by_text(engine, ["text"], 1)


def test_opening_what_is_no_index_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match=r"looked for documents\.sqlite"):
        EmbeddedEngine.open(tmp_path / "nowhere")
    with pytest.raises(IndexNotFound, match="no index here"):
        EmbeddedEngine.open(tmp_path, writable=True)
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_an_index_can_be_created_again(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "documents.sqlite").touch()
    with pytest.raises(IndexNotFound, match="never finished; run the load again"):
        EmbeddedEngine.open(tmp_path / "index")
    EmbeddedEngine.create(tmp_path / "index", SETTINGS).close()


def test_creating_over_an_index_needs_the_same_settings(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as engine:
        engine.add([Document("a", "text", metadata={"year": 1})], ONE)
        engine.commit()
    with pytest.raises(IndexExists, match="there is an index already"):
        EmbeddedEngine.create(tmp_path / "index", SETTINGS)
    with pytest.raises(IndexExists, match=r"bm25 Bm25\(k1=1.2, b=0.75\), asked for Bm25\(k1=0.9"):
        EmbeddedEngine.create(tmp_path / "index", SETTINGS.replace(bm25=Bm25(k1=0.9)), exist_ok=True)
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS, exist_ok=True) as engine:
        assert engine.count() == 1


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex\)"):
        EmbeddedEngine.create(tmp_path, SETTINGS)
    EmbeddedEngine.drop(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_dropping_removes_the_index_and_nothing_else(tmp_path: Path) -> None:
    EmbeddedEngine.create(tmp_path / "index", SETTINGS).close()
    (tmp_path / "index" / "notes.txt").write_text("mine")
    EmbeddedEngine.drop(tmp_path / "index")
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["notes.txt"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    import sqlite3

    EmbeddedEngine.create(tmp_path / "index", SETTINGS).close()
    (tmp_path / "index" / "manifest.json").unlink()
    connection = sqlite3.connect(tmp_path / "index" / "documents.sqlite")
    connection.execute("UPDATE meta SET value = 2 WHERE key = 'format_version'")
    connection.commit()
    connection.close()
    with pytest.raises(SearchIndexError, match="format 2, this version reads 1"):
        EmbeddedEngine.open(tmp_path / "index")
