"""An index may come from anywhere: what in it is no plain file of its own is never followed, to read or to write."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from asked import by_text, by_vector

from hybrid_search.engines.embedded import EmbeddedEngine, damage, repair
from hybrid_search.errors import CorruptIndex, CorruptModel, HybridSearchError
from hybrid_search.models import inspect_index
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

QUERY = np.ones((1, 4), np.float32)
SECRET = b"not to be touched" * 20_000
"""Longer than any file of the index, so that its beginning could be mapped or cut."""


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    (tmp_path / "model.json").write_text("{}")
    with EmbeddedEngine.create(folder, IndexSettings(dimension=4)) as engine:
        vectors = np.random.default_rng(3).standard_normal((30, 4)).astype(np.float32)
        engine.add([Document(f"{n:02}", f"everywhere only{n}") for n in range(30)], vectors)
        engine.commit()
        engine.store_model([tmp_path / "model.json"])
    return folder


def use(folder: Path) -> None:
    """Everything that opens an index, with and without the right to change it."""
    for writable in (False, True):
        with contextlib.suppress(HybridSearchError), EmbeddedEngine.open(folder, writable=writable) as engine:
            assert by_text(engine, ["only7"], 3)[0].ids == ("07",)
            assert len(by_vector(engine, QUERY, 99)[0]) >= 30
            assert engine.model_folder() in (None, folder / "model")
            if writable:
                engine.add([Document("30", "everywhere only30")], QUERY)
                engine.commit()
    with contextlib.suppress(HybridSearchError):
        damage(folder)
    with contextlib.suppress(HybridSearchError):
        repair(folder)


def parts_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_part_of_an_index_that_is_a_link_is_followed(index: Path, tmp_path: Path) -> None:
    """Each file and folder in turn (of a segment one file), and the names of files that are still to be made."""
    segments = [name for name in parts_of(index) if re.match(r"lexical/\w{32}", name)]
    names = [
        *(name for name in parts_of(index) if name not in segments[1:]),
        "documents.sqlite-wal", "documents.sqlite-shm", "documents.sqlite-journal", "writer.lock", "writer.json",
        "dense/vectors-2.faiss", "dense/vectors-2.npz", "lexical/.tantivy-writer.lock", "lexical/.tantivy-meta.lock",
    ]  # fmt: skip
    outside, whole = tmp_path / "outside", tmp_path / "whole"
    index.rename(whole)
    for name in dict.fromkeys(names):
        shutil.copytree(whole, index)
        outside.mkdir()
        path = index / name
        if path.is_dir():
            path.rename(outside / "victim")
        else:
            path.unlink(missing_ok=True)
            (outside / "victim").write_bytes(SECRET)
        path.symlink_to(outside / "victim")
        before = {one: one.is_dir() or (one.read_bytes(), one.stat().st_mtime_ns) for one in outside.rglob("*")}
        use(index)
        after = {one: one.is_dir() or (one.read_bytes(), one.stat().st_mtime_ns) for one in outside.rglob("*")}
        assert after == before, f"{name} was followed"
        shutil.rmtree(index)
        shutil.rmtree(outside)


def test_a_link_to_nowhere_is_never_made_good(index: Path, tmp_path: Path) -> None:
    for name in ("documents.sqlite", "writer.lock", "forward/rows.bin", "dense/vectors-1.faiss", "lexical/meta.json"):
        copy = tmp_path / "copy"
        shutil.copytree(index, copy)
        (copy / name).unlink(missing_ok=True)
        (copy / name).symlink_to(tmp_path / "planted")
        use(copy)
        with contextlib.suppress(HybridSearchError):
            EmbeddedEngine.create(copy, IndexSettings(dimension=4), exist_ok=True).close()
        assert not (tmp_path / "planted").exists(), name
        shutil.rmtree(copy)


def test_caches_that_are_links_are_built_again_as_files(index: Path, tmp_path: Path) -> None:
    for name in ("forward/rows.bin", "forward/postings.u64", "lexical/meta.json", "dense"):
        (tmp_path / "victim").mkdir() if name == "dense" else (tmp_path / "victim").write_bytes(SECRET)
        shutil.rmtree(index / name) if name == "dense" else (index / name).unlink()
        (index / name).symlink_to(tmp_path / "victim")
        with EmbeddedEngine.open(index) as reader:
            assert by_text(reader, ["only7"], 3)[0].ids == ("07",)
            assert len(by_vector(reader, QUERY, 99)[0]) == 30
        EmbeddedEngine.open(index, writable=True).close()
        assert not (index / name).is_symlink()
        shutil.rmtree(tmp_path / "victim") if name == "dense" else (tmp_path / "victim").unlink()
    assert damage(index) == []


def test_a_database_that_is_a_link_is_refused_with_advice(index: Path, tmp_path: Path) -> None:
    shutil.move(index / "documents.sqlite", tmp_path / "elsewhere.sqlite")
    (index / "documents.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    for writable in (False, True):
        with pytest.raises(CorruptIndex, match=r"documents\.sqlite is a symbolic link.*cp -rL"):
            EmbeddedEngine.open(index, writable=writable)
    assert [path.name for path in tmp_path.glob("elsewhere*")] == ["elsewhere.sqlite"]


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(index: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    for name in ("forward/rows.bin", "manifest.json", "forward/manifest.json", "dense/manifest.json"):
        (index / name).unlink()
        os.mkfifo(index / name)
        with EmbeddedEngine.open(index) as reader:
            assert by_text(reader, ["only7"], 3)[0].ids == ("07",)
        (index / name).unlink(missing_ok=True)


def test_names_in_a_manifest_never_become_paths(index: Path, tmp_path: Path) -> None:
    from hybrid_search.engines.embedded.store.manifest import Manifest

    (tmp_path / "victim").write_bytes(SECRET)
    for name in ("../../victim", str(tmp_path / "victim"), "..", ""):
        Manifest(files={name: (len(SECRET), 0)}).write(index / "forward")
        assert Manifest.read(index / "forward") is None


def test_a_file_that_has_another_name_elsewhere_is_copied_before_it_is_changed(index: Path, tmp_path: Path) -> None:
    """As in a backup made of hard links."""
    shutil.copytree(index, tmp_path / "backup", copy_function=os.link)
    before = {path: path.read_bytes() for path in (tmp_path / "backup" / "forward").iterdir()}
    shutil.copyfile(index / "documents.sqlite", tmp_path / "own.sqlite")
    (tmp_path / "own.sqlite").replace(index / "documents.sqlite")
    with EmbeddedEngine.open(index, writable=True) as engine:
        engine.add([Document("30", "everywhere only30")], QUERY)
        engine.commit()
        assert by_text(engine, ["only30"], 3)[0].ids == ("30",)
    assert {path: path.read_bytes() for path in (tmp_path / "backup" / "forward").iterdir()} == before
    assert damage(index) == []


def test_a_link_among_a_models_files_is_not_copied_into_an_index(index: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "tokenizer.json").symlink_to(tmp_path / "secret")
    with EmbeddedEngine.open(index, writable=True) as engine, pytest.raises(CorruptModel, match="cp -rL"):
        engine.store_model([tmp_path / "model.json", tmp_path / "tokenizer.json"])
    assert [path.name for path in (index / "model").iterdir()] == ["model.json"]


def test_verifying_an_index_reads_no_model_through_a_link(index: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (index / "model").rename(outside)
    (index / "model").symlink_to(outside, target_is_directory=True)
    os.mkfifo(outside / "model.json.new")
    os.replace(outside / "model.json.new", outside / "model.json")  # whoever opens it waits for good
    with pytest.raises(CorruptIndex, match="link"):
        inspect_index(str(index), verify=True)
