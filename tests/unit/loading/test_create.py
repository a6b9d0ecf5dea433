"""An empty index: it can be filled at once, and never takes the place of another."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybrid_search
from hybrid_search import Document, IndexExists, ModelNotFound


def test_an_index_for_bm25_alone_is_empty_and_takes_documents(tmp_path: Path) -> None:
    with hybrid_search.create(tmp_path / "index") as retriever:
        assert retriever.search("oak", mode="bm25") == []
        retriever.add([Document("d1", "an oak")])
    with hybrid_search.open(tmp_path / "index") as retriever:
        assert [hit.id for hit in retriever.search("oak", mode="bm25")] == ["d1"]


def test_where_there_is_an_index_none_is_created(tmp_path: Path) -> None:
    hybrid_search.create(tmp_path / "index").close()
    with pytest.raises(IndexExists, match="drop it first"):
        hybrid_search.create(tmp_path / "index")


def test_without_the_model_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        hybrid_search.create(tmp_path / "index", model=tmp_path / "nosuch")
    assert not (tmp_path / "index").exists()
