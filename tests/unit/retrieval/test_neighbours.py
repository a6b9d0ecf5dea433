"""Documents whose vectors are nearest to a document's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
        yield retriever


def test_neighbours_are_ranked_from_one_without_the_document_itself(retriever: Retriever) -> None:
    hits = retriever.neighbours("d1", 2)
    assert hits is not None
    assert [(hit.id, hit.rank) for hit in hits] == [("d2", 1), ("d3", 2)]
    assert retriever.neighbours("nosuch") is None
    assert asyncio.run(AsyncRetriever(retriever).neighbours("d1", 2)) == hits
    assert len(retriever.neighbours("d1", 10_000) or ()) == 3
    for k in (0, -1, 10_001):
        with pytest.raises(UsageError, match=f"k is {k}; it must be from 1 to"):
            retriever.neighbours("d1", k)


def test_neighbours_of_a_passage_are_other_documents_than_its_own(tmp_path: Path) -> None:
    def passage(of: str, number: int, text: str) -> Document:
        return Document(f"{of}#p{number}", text, metadata={"passage_of": of, "passage": number, "passages": 2})

    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "passages", AXIS_SETTINGS)) as retriever:
        retriever.add([passage(of, number, text) for of, text in (("a", "cat"), ("b", "cat dog")) for number in (1, 2)])
        for id in ("a", "a#p1", "a#p2"):
            assert [hit.id for hit in retriever.neighbours(id, 5) or ()] == ["b"]
