"""Documents deleted by their ids: which were there, which were not, and nothing by half."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import IndexLocked, IndexNotFound, UsageError
from hybrid_search.indexes import Deletion, delete_documents
from hybrid_search.search import Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document


@pytest.fixture
def index(tmp_path: Path) -> str:
    folder = tmp_path / "index"
    with closing(EmbeddedEngine.create(folder, IndexSettings())) as engine:
        engine.add([Document(id, f"the text of {id}") for id in ("a", "b", "c")], None)
        engine.commit()
    return str(folder)


def test_it_says_how_many_went_and_which_were_not_there(index: str) -> None:
    assert delete_documents(index, ["c", "x", "a", "c", "y"]) == Deletion(index, 2, ["x", "y"], 1)
    assert delete_documents(index, ["a"]) == Deletion(index, 0, ["a"], 1)
    with closing(EmbeddedEngine.open(Path(index))) as engine:
        assert [document.id for document in engine.documents()] == ["b"]
        assert engine.rank(Search.of(["text"], 5, "bm25"))[0].ids == ("b",)


def test_more_ids_than_are_deleted_at_a_time_all_go(tmp_path: Path) -> None:
    with closing(EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as engine:
        engine.add([Document(f"d{number}", "a text") for number in range(2_500)], None)
        engine.commit()
    report = delete_documents(str(tmp_path / "index"), (f"d{number}" for number in range(1, 2_501)))
    assert (report.deleted, report.not_there, report.documents) == (2_499, ["d2500"], 1)


def test_an_id_that_no_document_can_have_is_told_and_nothing_is_deleted(index: str) -> None:
    with pytest.raises(UsageError, match="no document can have"):
        delete_documents(index, ["a", "x" * 600])
    with closing(EmbeddedEngine.open(Path(index))) as engine:
        assert engine.count() == 3


def test_an_index_that_is_not_there_or_is_being_written_is_told(index: str, tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound):
        delete_documents(str(tmp_path / "nowhere"), ["a"])
    with closing(EmbeddedEngine.open(Path(index), writable=True)), pytest.raises(IndexLocked):
        delete_documents(index, ["a"])
