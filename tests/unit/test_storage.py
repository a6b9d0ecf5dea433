from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hybrid_search.errors import StorageError
from hybrid_search.storage import (
    atomic_write_bytes,
    disk_errors,
    make_folder,
    recover_folder,
    replace_folder,
    sha256_of,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced_with_nothing_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.json"
    atomic_write_bytes(target, b"one")
    atomic_write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert names(target.parent) == ["file.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StorageError, match=r"writing .*file"):
        atomic_write_bytes(tmp_path / "file", b"text")
    assert names(tmp_path) == ["file"]


def test_the_name_of_every_folder_that_is_made_is_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[Path] = []
    monkeypatch.setattr("hybrid_search.storage.sync_folder", forced.append)
    make_folder(tmp_path / "one" / "two")
    assert sorted(forced) == [tmp_path, tmp_path / "one"]
    make_folder(tmp_path / "one" / "two")
    assert len(forced) == 2


def test_the_sha256_is_the_published_one_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(StorageError, match=r"reading .*nowhere: No such file"):
        sha256_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("code", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "check the permissions"), (errno.EIO, "check the path")],
)
def test_an_error_of_the_disk_says_what_to_do(code: int, advice: str) -> None:
    with pytest.raises(StorageError, match=f"saving x: .*{advice}"), disk_errors("saving x"):
        raise OSError(code, os.strerror(code))


def filled(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / name).write_text(name)
    return folder


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    replace_folder(filled(tmp_path / "first", "a"), tmp_path / "target")
    replace_folder(filled(tmp_path / "second", "b"), tmp_path / "target")
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["b"]


def test_a_folder_that_can_not_be_moved_leaves_the_old_one(tmp_path: Path) -> None:
    filled(tmp_path / "target", "old")
    with pytest.raises(StorageError, match="replacing"):
        replace_folder(tmp_path / "nowhere", tmp_path / "target")
    assert names(tmp_path / "target") == ["old"]


def test_a_crash_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    filled(tmp_path / ".target.old", "old")
    recover_folder(tmp_path / "target")
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["old"]


def test_a_crash_after_both_renames_is_tidied_up(tmp_path: Path) -> None:
    filled(tmp_path / ".target.old", "old")
    filled(tmp_path / "target", "new")
    recover_folder(tmp_path / "target")
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["new"]
