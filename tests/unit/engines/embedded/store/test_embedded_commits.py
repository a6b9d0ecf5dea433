"""Commits that are only in SQLite's log, as their writer was killed: what is damaged there is missed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hybrid_search.engines.embedded import EmbeddedEngine, damage
from hybrid_search.engines.embedded.copying import copy_index
from hybrid_search.engines.embedded.repair import repair
from hybrid_search.errors import CorruptIndex
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

COMMITS = 6
LOG = "documents.sqlite-wal"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a writer leaves that was killed after six commits: a copy of its folder while it is open."""
    folder = tmp_path_factory.mktemp("killed")
    with EmbeddedEngine.create(folder / "open", IndexSettings()) as engine:
        for number in range(COMMITS):
            engine.add([Document(f"d{number}", f"text {number}")], None)
            engine.commit()
        shutil.copytree(folder / "open", folder / "left")
    return folder / "left"


def ids(folder: Path, *, writable: bool = False) -> list[str]:
    with EmbeddedEngine.open(folder, writable=writable) as engine:
        return [document.id for document in engine.documents()]


WHOLE = [f"d{number}" for number in range(COMMITS)]


def flipped(content: bytearray, at: int) -> bytearray:
    content[at] ^= 16
    return content


def scrambled(content: bytearray, at: int) -> bytearray:
    content[at : at + 512] = b"\xa5" * len(content[at : at + 512])
    return content


def torn(content: bytearray, at: int) -> bytearray:
    return content[:at]


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("way", [flipped, scrambled, torn])
def test_a_damaged_log_of_a_killed_writer_loses_no_commit_unsaid(
    killed: Path, tmp_path: Path, way: Callable[[bytearray, int], bytearray], writable: bool
) -> None:
    content = (killed / LOG).read_bytes()
    refused = 0
    for number, at in enumerate(np.random.default_rng(0).integers(0, len(content), 10).tolist()):
        folder = tmp_path / str(number)
        shutil.copytree(killed, folder)
        (folder / LOG).write_bytes(way(bytearray(content), at))
        try:
            found = ids(folder, writable=writable)
        except CorruptIndex as error:
            found, refused = WHOLE, refused + ("committed documents are missing" in str(error))
        assert found == WHOLE
    assert refused > 2


def test_a_log_that_is_gone_is_missed_by_everything_until_what_is_left_is_accepted(
    killed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(killed, folder)
    (folder / LOG).write_bytes(torn(bytearray((folder / LOG).read_bytes()), (folder / LOG).stat().st_size // 2))
    for _ in range(2):  # SQLite folds what is left of the log into the file, and the second opening must still miss it
        with pytest.raises(CorruptIndex, match=r"missing, those of the last \d commits.*repair"):
            ids(folder, writable=True)
    with pytest.raises(CorruptIndex, match="committed documents are missing"):
        copy_index(folder, tmp_path / "copy")
    assert any("committed documents are missing" in problem for problem in damage(folder))
    repair(folder)
    left = ids(folder, writable=True)
    assert left == WHOLE[: len(left)]
    assert len(left) < COMMITS
    assert damage(folder) == []


@pytest.mark.parametrize("content", [None, b"", bytes(12), b"no note at all", b"\xff" * 12])
def test_without_a_sound_note_nothing_is_claimed(killed: Path, tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "index"
    shutil.copytree(killed, folder)
    (folder / "committed").unlink()
    if content is not None:
        (folder / "committed").write_bytes(content)
    assert ids(folder, writable=True) == WHOLE


def test_an_older_note_claims_less_and_the_next_commit_is_noted(killed: Path, tmp_path: Path) -> None:
    folder, note = tmp_path / "index", tmp_path / "index" / "committed"
    with EmbeddedEngine.create(folder, IndexSettings()) as engine:
        engine.add([Document("a", "text")], None)
        engine.commit()
        older = note.read_bytes()
        engine.add([Document("b", "text")], None)
        engine.commit()
    newer = note.read_bytes()
    assert older != newer
    note.write_bytes(older)
    with EmbeddedEngine.open(folder, writable=True) as engine:
        assert [document.id for document in engine.documents()] == ["a", "b"]
        engine.add([Document("c", "text")], None)
        engine.commit()
    assert note.read_bytes() not in (older, newer)


def test_the_note_is_written_through_no_link_and_into_no_backup(tmp_path: Path) -> None:
    folder, outside = tmp_path / "index", tmp_path / "outside"
    outside.write_bytes(b"precious")
    with EmbeddedEngine.create(folder, IndexSettings()) as engine:
        for number, link in enumerate((os.symlink, os.link)):
            (folder / "committed").unlink(missing_ok=True)
            link(outside, folder / "committed")
            engine.add([Document(f"d{number}", "text")], None)
            engine.commit()
    assert outside.read_bytes() == b"precious"
    assert ids(folder) == ["d0", "d1"]
