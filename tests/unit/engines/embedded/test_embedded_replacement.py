"""An index is built beside the old one and takes its place; damage is told before anything is repaired."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hybrid_search.engines.embedded import EmbeddedEngine, damage, replacement
from hybrid_search.engines.embedded.search.faiss_index import check_factory
from hybrid_search.errors import ConfigError, DataError, IndexLocked, IndexNotFound, StorageError, UsageError
from hybrid_search.search import Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document


def fill(folder: Path, id: str = "old") -> None:
    with EmbeddedEngine.create(folder, IndexSettings(dimension=2)) as engine:
        engine.add([Document(id, f"the {id} one")], np.ones((1, 2), np.float32))
        engine.commit()


def ids(folder: Path) -> list[str]:
    with EmbeddedEngine.open(folder) as engine:
        return [document.id for document in engine.documents()]


def test_a_finished_replacement_takes_the_place_of_the_old_index(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    with replacement(tmp_path / "index") as new:
        fill(new, "new")
        assert ids(tmp_path / "index") == ["old"]
    assert ids(tmp_path / "index") == ["new"]
    assert damage(tmp_path / "index") == []
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    with EmbeddedEngine.open(tmp_path / "index", writable=True):
        pass


@pytest.mark.parametrize("how", ["recreated", "link"])
def test_whoever_has_an_index_open_reads_on_in_it_alone_when_another_takes_its_place(tmp_path: Path, how: str) -> None:
    place = tmp_path / "index"
    if how == "link":
        fill(tmp_path / "first")
        place.symlink_to(tmp_path / "first")
    else:
        fill(place)
    with EmbeddedEngine.open(place) as engine, ThreadPoolExecutor(8) as threads:
        if how == "link":
            fill(tmp_path / "second", "new")
            place.unlink()
            place.symlink_to(tmp_path / "second")
        else:
            with replacement(place) as new:
                fill(new, "new")
        # More threads than connections: those opened now by the path would read the other index.
        found = list(threads.map(lambda _: engine.search(Search.of(["one"], 5, "bm25"))[0], range(100)))
        assert {(hit.id, hit.text) for hits in found for hit in hits} == {("old", "the old one")}
        assert all(
            threads.map(lambda _: [one and one.id for one in engine.get(["old", "new"])] == ["old", None], [0] * 50)
        )
    assert ids(place) == ["new"]


def test_a_writer_goes_on_in_the_index_that_a_link_stood_for(tmp_path: Path) -> None:
    for name, make in (("first", True), ("second", False)):
        (tmp_path / name).mkdir()
        if not make:
            fill(tmp_path / name, "new")
    place = tmp_path / "index"
    place.symlink_to(tmp_path / "first")
    with EmbeddedEngine.create(place, IndexSettings(dimension=2)) as engine:
        place.unlink()
        place.symlink_to(tmp_path / "second")
        engine.add([Document(f"d{number}", "the late one") for number in range(300)], np.ones((300, 2), np.float32))
        engine.commit()
        assert len(engine.search(Search.of(["late"], 500, "bm25"))[0]) == 300
    for name, count in (("first", 300), ("second", 1)):
        assert damage(tmp_path / name) == []
        assert len(ids(tmp_path / name)) == count


def test_a_failed_replacement_leaves_the_old_index_and_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "index")

    def failing() -> None:
        with replacement(tmp_path / "index") as new:
            fill(new, "new")
            raise DataError("no documents")

    with pytest.raises(DataError, match=r"no documents; the index in .* is as it was"):
        failing()
    assert ids(tmp_path / "index") == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_replacement_whose_folder_can_t_be_finished_is_an_error_of_the_disk(tmp_path: Path) -> None:
    fill(tmp_path / "index")

    def vanishing() -> None:
        with replacement(tmp_path / "index") as new:
            fill(new, "new")
            shutil.rmtree(new)  # as on a disk that turned read-only, its rights can't be set

    with pytest.raises(StorageError, match=r"giving .* the rights of .*; the index in .* is as it was"):
        vanishing()
    assert ids(tmp_path / "index") == ["old"]


def test_a_replacement_waits_for_no_writer_and_lets_none_in(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    with (
        EmbeddedEngine.open(tmp_path / "index", writable=True),
        pytest.raises(IndexLocked),
        replacement(tmp_path / "index"),
    ):
        pass
    with replacement(tmp_path / "index") as new:
        with pytest.raises(IndexLocked):
            EmbeddedEngine.open(tmp_path / "index", writable=True)
        fill(new, "new")


def test_what_a_killed_replacement_left_goes_at_the_next_writing(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    fill(tmp_path / ".index.new", "half")
    EmbeddedEngine.open(tmp_path / "index", writable=True).close()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    # Killed between the two renames.
    (tmp_path / "index").rename(tmp_path / ".index.old")
    assert ids(tmp_path / "index") == ["old"]


def test_an_index_that_is_opened_while_another_takes_its_place_keeps_nothing_from_doing_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "index")
    rename, found = os.rename, []

    def renamed(old: Path, new: Path) -> None:
        rename(old, new)
        if new == tmp_path / ".index.old":  # between the two renames
            threads.submit(lambda: found.append(ids(tmp_path / "index")))
            time.sleep(0.3)

    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(os, "rename", renamed)
        with replacement(tmp_path / "index") as new:
            fill(new, "new")
    assert found == [["new"]]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_other_files_in_the_folder_are_not_thrown_away_with_the_old_index(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    (tmp_path / "index" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(notes.txt\)"), replacement(tmp_path / "index"):
        pass
    assert (tmp_path / "index" / "notes.txt").exists()


@pytest.mark.parametrize("dimension", [0, 64])
@pytest.mark.parametrize("factory", ["Foo", "", "IVF1024,Foo", "HNSW32,,"])
def test_an_unknown_factory_is_refused_in_words_before_anything_is_made(
    tmp_path: Path, factory: str, dimension: int
) -> None:
    with pytest.raises(ConfigError, match=f"faiss is '{factory}', which is no index_factory string") as caught:
        EmbeddedEngine.create(tmp_path / "index", IndexSettings(dimension=dimension, faiss=factory))
    assert ".cpp" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_factory_that_does_not_fit_the_dimension_is_refused_with_the_reason_alone() -> None:
    with pytest.raises(ConfigError, match=r"refuses for dimension 64: The dimension of the vector .d. should be"):
        check_factory("PQ28", 64)
    check_factory("PQ28", 0)


def test_an_index_without_vectors_opens_with_a_factory_that_needs_training(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(faiss="IVF1024,PQ32")) as engine:
        engine.add([Document("a", "text")], None)
        engine.commit()
    assert ids(tmp_path / "index") == ["a"]


@pytest.mark.parametrize("part", ["lexical", "forward", "dense"])
def test_a_damaged_cache_is_told_and_not_repaired(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "index")
    victim = max((path for path in (tmp_path / "index" / part).iterdir()), key=lambda path: path.stat().st_size)
    damaged = victim.read_bytes()[:-1] + b"\xaa"
    victim.write_bytes(damaged)
    (finding,) = damage(tmp_path / "index")
    assert str(tmp_path / "index" / part) in finding
    assert f"hybrid-search repair {tmp_path / 'index'}" in finding
    assert victim.read_bytes() == damaged
    EmbeddedEngine.open(tmp_path / "index", writable=True).close()
    assert damage(tmp_path / "index") == []


@pytest.mark.parametrize("part", ["lexical", "forward", "dense"])
def test_a_missing_cache_is_told(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "index")
    (tmp_path / "index" / part).rename(tmp_path / "elsewhere")
    (finding,) = damage(tmp_path / "index")
    assert f"{part}: its manifest is missing" in finding


def test_a_damaged_seal_and_a_damaged_database_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "index")
    seal = tmp_path / "index" / "manifest.json"
    content = seal.read_bytes()
    seal.write_bytes(content[:-9])
    assert any("manifest.json is not what was written" in finding for finding in damage(tmp_path / "index"))
    seal.write_bytes(content)
    database = tmp_path / "index" / "documents.sqlite"
    database.write_bytes(database.read_bytes().replace(b"the old one", b"the odd one"))
    findings = damage(tmp_path / "index")
    assert any("document 'old'" in finding for finding in findings)


def test_a_model_is_not_taken_for_a_missing_index(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(IndexNotFound, match="this is a model; give an index"):
        EmbeddedEngine.open(tmp_path)


def test_the_folder_may_be_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "index")
    monkeypatch.chdir(tmp_path / "index")
    assert ids(Path()) == ["old"]
    with pytest.raises(IndexNotFound):
        EmbeddedEngine.open(Path("/"))
