"""What a kill, a flipped byte and a full disk leave behind: everything acknowledged, once, or a clear error."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from asked import by_both, by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import CorruptIndex, StorageError
from hybrid_search.filters.parser import parse_filter
from hybrid_search.search import MAX_K
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

DIMENSION = 4
SETTINGS = IndexSettings(dimension=DIMENSION, fingerprint="towers")
QUERY = np.ones((1, DIMENSION), np.float32)


def document(number: int, text: str = "everywhere") -> Document:
    return Document(f"{number:05}", f"{text} only{number}", metadata={"number": number})


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


def fill(folder: Path, *, delete: bool = True) -> None:
    with EmbeddedEngine.create(folder, SETTINGS) as engine:
        engine.add([document(number) for number in range(60)], vectors(60))
        engine.commit()
        if delete:
            engine.delete(["00007"])
            engine.commit()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from hybrid_search.settings.index import IndexSettings
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.types import Document
folder, first = Path(sys.argv[1]), int(sys.argv[2])
settings = IndexSettings(dimension=4, fingerprint="towers")
engine = EmbeddedEngine.create(folder, settings, exist_ok=True)
for start in range(first, first + 100_000, 5):
    numbers = range(start, start + 5)
    batch = [Document(f"{n:05}", f"everywhere only{n}", metadata={"number": n}) for n in numbers]
    engine.add(batch, np.random.default_rng(start).standard_normal((5, 4)).astype(np.float32))
    # Each round also replaces a document of the round before.
    if start > first:
        engine.add([Document(f"{start - 1:05}", f"everywhere again{start - 1}")], np.ones((1, 4), np.float32))
    engine.commit()
    print(start + 4, flush=True)
"""


def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    moments = random.Random(11)
    acknowledged = -1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "index"), str(acknowledged + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, "the writer ended before its first commit"
            time.sleep(moments.uniform(0, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            lines = [first, *process.stdout.read().splitlines()]
        acknowledged = max(acknowledged, *(int(line) for line in lines if line.strip()))
        with EmbeddedEngine.open(tmp_path / "index") as engine:
            stored = [one.id for one in engine.documents()]
            expected = [f"{number:05}" for number in range(acknowledged + 1)]
            # The batch being committed at the kill may be in as well, whole.
            assert stored[: len(expected)] == expected
            assert len(stored) - len(expected) in (0, 5)
            assert sorted(by_text(engine, ["everywhere"], 10_000)[0].ids) == stored
            assert sorted(by_vector(engine, QUERY, 10_000)[0].ids) == stored
            assert engine.verify() == []
        acknowledged = len(stored) - 1


def test_a_reader_repairs_what_a_killed_writer_left(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    shutil.copytree(tmp_path / "index", tmp_path / "before")
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as engine:
        engine.add([document(100, "later")], vectors(1))
        engine.delete(["00008"])
        engine.commit()
    # As if the kill had come between SQLite's commit and the caches'.
    for cache in ("lexical", "forward", "dense"):
        shutil.rmtree(tmp_path / "index" / cache)
        shutil.copytree(tmp_path / "before" / cache, tmp_path / "index" / cache)
    with EmbeddedEngine.open(tmp_path / "index") as reader:
        assert by_text(reader, ["later"], 5)[0].ids == ("00100",)
        assert len(by_text(reader, ["everywhere"], 100)[0]) == 58
        assert len(by_vector(reader, QUERY, 100)[0]) == 59
        assert reader.verify() == []


def test_a_deletion_list_of_an_unfinished_commit_is_no_obstacle(tmp_path: Path) -> None:
    fill(tmp_path / "index", delete=False)
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as engine:
        engine.delete(["00007"])
        engine.commit()
    (finished,) = (tmp_path / "index" / "lexical").glob("*.del")
    shutil.copytree(tmp_path / "index", tmp_path / "after")
    with EmbeddedEngine.open(tmp_path / "after", writable=True) as engine:
        engine.delete(["00009"])
        engine.commit()
    (unfinished,) = (path for path in (tmp_path / "after" / "lexical").glob("*.del") if path.name != finished.name)
    # What a kill leaves between tantivy's writing of the list and of its meta.json.
    shutil.copy(unfinished, tmp_path / "index" / "lexical")
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as engine:
        engine.delete(["00009"])
        engine.commit()
        assert len(by_text(engine, ["everywhere"], 100)[0]) == 58
        assert engine.verify() == []


def test_an_index_without_documents_is_as_it_was_written(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as engine:
        assert engine.verify() == []
        engine.add([document(0)], vectors(1))
        engine.commit()
        engine.delete([document(0).id])
        engine.commit()
        assert engine.verify() == []


def test_files_that_a_killed_writer_left_in_the_caches_go_with_the_next_one(tmp_path: Path) -> None:
    index = tmp_path / "index"
    fill(index)
    usual = {path.name for path in (index / "dense").iterdir()}
    strays = ["lexical/.tmpAbC123", f"lexical/{'0' * 32}.idx", "dense/vectors-0.faiss"]
    for name in strays:
        (index / name).write_bytes(b"half")
    with EmbeddedEngine.open(index, writable=True):  # which has nothing to do for its caches but this
        pass
    assert {path.name for path in (index / "dense").iterdir()} == usual
    with EmbeddedEngine.open(index, writable=True) as engine:
        engine.delete(["00009"])
        engine.commit()
    assert [name for name in strays if (index / name).exists()] == []


@pytest.mark.parametrize("cache", ["lexical", "forward", "dense"])
def test_a_cache_that_is_missing_is_built_again(tmp_path: Path, cache: str) -> None:
    fill(tmp_path / "index")
    shutil.rmtree(tmp_path / "index" / cache)
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        assert len(by_text(engine, ["everywhere"], 100)[0]) == 59
        assert len(by_vector(engine, QUERY, 100)[0]) == 59


def test_caches_ahead_of_the_documents_tell_that_commits_were_lost(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    shutil.copytree(tmp_path / "index", tmp_path / "before")
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as engine:
        engine.add([document(100)], vectors(1))
        engine.commit()
    for name in ("documents.sqlite", "manifest.json"):
        shutil.copy(tmp_path / "before" / name, tmp_path / "index" / name)
    with pytest.raises(CorruptIndex, match="committed documents are missing"):
        EmbeddedEngine.open(tmp_path / "index")


def answers(folder: Path) -> object:
    with EmbeddedEngine.open(folder) as engine:
        filter = parse_filter("number >= 20 and number < 40")
        return (
            by_text(engine, ["everywhere", "only13", "everywhere only44"], 100),
            by_text(engine, ["everywhere"], 100, filter),
            by_vector(engine, QUERY, 100),
            by_both(engine, ["only13"], QUERY, 20),
            list(engine.documents()),
        )


def test_a_flipped_byte_in_any_file_is_repaired_or_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Without deletions: a deleted document counts in the idf until its segment is merged, or built again.
    fill(tmp_path / "index", delete=False)
    right = answers(tmp_path / "index")
    places = random.Random(5)
    outcomes: dict[str, set[str]] = {}
    files = sorted(path for path in (tmp_path / "index").rglob("*") if path.is_file() and path.stat().st_size)
    for path in files:
        name = path.relative_to(tmp_path / "index")
        for _ in range(2):
            shutil.rmtree(tmp_path / "flipped", ignore_errors=True)
            shutil.copytree(tmp_path / "index", tmp_path / "flipped")
            content = bytearray((tmp_path / "flipped" / name).read_bytes())
            content[places.randrange(len(content))] ^= 1 << places.randrange(8)
            (tmp_path / "flipped" / name).write_bytes(content)
            with caplog.at_level(logging.CRITICAL):
                try:
                    outcome = "same answers" if answers(tmp_path / "flipped") == right else "WRONG"
                except CorruptIndex:
                    outcome = "named"
            outcomes.setdefault(str(name), set()).add(outcome)
    assert outcomes.pop("documents.sqlite") == {"named"}
    assert set().union(*outcomes.values()) == {"same answers"}, outcomes


def test_a_damaged_document_is_named_while_the_others_are_served(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    (tmp_path / "index" / "manifest.json").unlink()  # as after a kill: no checksum over the whole database
    content = (tmp_path / "index" / "documents.sqlite").read_bytes()
    (tmp_path / "index" / "documents.sqlite").write_bytes(content.replace(b"only13", b"onlY13"))
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        assert engine.get(["00012"]) == [document(12)]
        with pytest.raises(CorruptIndex, match=r"row 14 \(document '00013'\).*delete the document and add it again"):
            engine.get(["00013"])
        assert any("document '00013' (row 14)" in line for line in engine.verify())


def test_a_damaged_document_is_named_when_the_whole_file_is_checked(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    content = (tmp_path / "index" / "documents.sqlite").read_bytes()
    (tmp_path / "index" / "documents.sqlite").write_bytes(content.replace(b"only13", b"onlY13"))
    with pytest.raises(
        CorruptIndex, match=r"document '00013' \(row 14\): its text or metadata is not what was written"
    ):
        EmbeddedEngine.open(tmp_path / "index", writable=True)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    (tmp_path / "index" / "manifest.json").unlink()
    (tmp_path / "index" / "documents.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(CorruptIndex, match=r"documents\.sqlite: file is not a database"):
        EmbeddedEngine.open(tmp_path / "index")
    EmbeddedEngine.drop(tmp_path / "index")
    assert not (tmp_path / "index").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_committed(small_disk: Path) -> None:
    settings = IndexSettings(dimension=64)
    noise = random.Random(1)
    committed = 0
    engine = EmbeddedEngine.create(small_disk / "index", settings)
    with pytest.raises(StorageError, match=r"(full|No space|kept|safe)"):  # noqa: PT012 - until the disk is full
        for start in range(0, 100_000, 100):
            texts = [" ".join(f"{noise.getrandbits(40):x}" for _ in range(20)) for _ in range(100)]
            batch = [Document(f"{start + n:06}", f"everywhere {text}") for n, text in enumerate(texts)]
            engine.add(batch, np.random.default_rng(start).standard_normal((100, 64)).astype(np.float32))
            engine.commit()
            committed = start + 100
    assert committed > 0
    # The commit at which the disk filled up may be in SQLite already; then it counts.
    assert engine.count() in (committed, committed + 100)
    stored = engine.count()
    engine.close()
    shutil.copytree(small_disk / "index", small_disk.parent / "rescued")
    with EmbeddedEngine.open(small_disk.parent / "rescued", writable=True) as engine:
        assert engine.count() == stored
        assert len(by_text(engine, ["everywhere"], MAX_K)[0]) == stored
        assert len(by_vector(engine, np.ones((1, 64), np.float32), MAX_K)[0]) == stored
        engine.add([Document("one more", "everywhere")], None)
        engine.commit()
        assert engine.verify() == []
