"""An observer is told of every search that was answered, whoever carries it out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.async_retriever import AsyncRetriever
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.observing import Searched
from hybrid_search.retriever import Retriever
from hybrid_search.settings.index import Fusion


class Notes:
    def __init__(self) -> None:
        self.told: list[Searched] = []
        self.begun = 0
        self.closed = False

    def began(self) -> None:
        self.begun += 1

    def ended(self, search: Searched) -> None:
        self.told.append(search)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def retriever(tmp_path, notes: Notes) -> Iterator[Retriever]:
    engine = EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)
    with Retriever(AxisEncoder(), engine, observer=notes) as made:
        made.add(PETS)
        yield made


def test_it_is_told_what_was_asked_what_was_found_and_how_long_it_took(retriever: Retriever, notes: Notes) -> None:
    fusion = Fusion(weights=(0.2, 0.8))
    hits = retriever.search("cat", 2, offset=1, filter="lang = en", fusion=fusion)
    [told] = notes.told
    assert told.asked.queries == ["cat"]
    assert (told.asked.k, told.asked.offset, told.asked.mode, told.asked.filtered) == (2, 1, "hybrid", True)
    assert told.asked.fusion == fusion
    assert list(told.hits) == [hits]
    assert 0 < told.seconds < 60


def test_a_leg_alone_has_no_fusion_and_a_batch_is_told_once(retriever: Retriever, notes: Notes) -> None:
    retriever.search_many(["cat", "dog"], mode="bm25")
    [told] = notes.told
    assert told.asked.fusion is None
    assert len(told.hits) == 2


def test_it_is_told_of_awaited_searches_too(retriever: Retriever, notes: Notes) -> None:
    async def ask() -> None:
        await AsyncRetriever(retriever).search("dog")

    asyncio.run(ask())
    assert [told.asked.queries for told in notes.told] == [["dog"]]


def test_a_search_that_fails_is_begun_and_not_told(retriever: Retriever, notes: Notes) -> None:
    with pytest.raises(UsageError, match="k is 0"):
        retriever.search("cat", 0)
    assert (notes.begun, notes.told) == (1, [])


def test_it_is_closed_with_the_retriever(retriever: Retriever, notes: Notes) -> None:
    retriever.close()
    assert notes.closed
