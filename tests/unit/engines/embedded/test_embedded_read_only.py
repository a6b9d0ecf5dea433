"""An index in a folder that can't be written to, or on a disk that is full, is searched all the same."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from asked import by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine, damage
from hybrid_search.errors import StorageError
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

QUERY = np.ones((1, 4), np.float32)


def fill(folder: Path) -> None:
    with EmbeddedEngine.create(folder, IndexSettings(dimension=4)) as engine:
        vectors = np.random.default_rng(3).standard_normal((30, 4)).astype(np.float32)
        engine.add([Document(f"{n:02}", f"everywhere only{n}") for n in range(30)], vectors)
        engine.commit()


AS_NOBODY = """
import os, sys
from pathlib import Path
import numpy as np
from hybrid_search.engines.embedded import EmbeddedEngine, damage
from hybrid_search.errors import StorageError
from hybrid_search.search import Search
folder = Path(sys.argv[1])
# All modules are loaded first: nobody may not read this Python's.
damage(Path(sys.argv[2]))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with EmbeddedEngine.open(folder) as engine:
    asked = Search.of(["only7"], 3, "bm25")
    print(engine.rank(asked)[0].ids, len(engine.rank(Search.near(np.ones((1, 4), np.float32), 99))[0]))
    print(engine.stats()["documents"], engine.search(asked)[0][0].text)
print(damage(folder))
try:
    EmbeddedEngine.open(folder, writable=True)
except StorageError as error:
    print("refused:", error)
"""


@pytest.fixture
def shown() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_folder_of_another_user_is_searched_without_leaving_a_trace(shown: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can become another user")
    fill(shown / "index")
    fill(shown / "other")
    before = {path: path.stat().st_mtime_ns for path in (shown / "index").rglob("*")}
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(shown / "index"), str(shown / "other")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["('07',) 30", "30 everywhere only7", "[]"]
    assert lines[3].startswith("refused: locking")
    assert {path: path.stat().st_mtime_ns for path in (shown / "index").rglob("*")} == before


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with an index on it and not a byte left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    fill(folder / "index")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def use_up(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_searched(full_disk: Path) -> None:
    use_up(full_disk)
    with EmbeddedEngine.open(full_disk / "index") as engine:
        assert by_text(engine, ["only7"], 3)[0].ids == ("07",)
        assert len(by_vector(engine, QUERY, 99)[0]) == 30
        assert engine.count() == 30
    assert damage(full_disk / "index") == []


def test_what_a_full_disk_keeps_from_being_repaired_is_told_without_talk_of_adding(
    full_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(full_disk / "index" / "dense")
    use_up(full_disk)
    with EmbeddedEngine.open(full_disk / "index") as engine:  # vectors are built in memory
        assert len(by_vector(engine, QUERY, 99)[0]) == 30
    shutil.rmtree(full_disk / "index" / "lexical")
    use_up(full_disk)
    with caplog.at_level(logging.CRITICAL), pytest.raises(StorageError, match="free some space, or open it") as caught:
        EmbeddedEngine.open(full_disk / "index")
    assert "add it again" not in str(caught.value)


def test_a_reader_of_an_unchanging_file_sees_a_change_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "index")
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: False)
        reader = EmbeddedEngine.open(tmp_path / "index")
        assert reader.count() == 30
    with reader:
        with EmbeddedEngine.open(tmp_path / "index", writable=True) as writer:
            writer.add([Document("new", "fresh")], None)
            writer.commit()
            assert by_text(reader, ["fresh"], 3)[0].ids == ("new",)
        assert reader.count() == 31
