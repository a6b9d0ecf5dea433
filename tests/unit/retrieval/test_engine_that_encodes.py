"""An engine that has the query tower itself: the retriever gives it texts, and needs no encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ModelMismatch, UsageError
from hybrid_search.protocols import Capabilities
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Hit, Ranking


class EncodingEngine(EmbeddedEngine):
    """Makes vectors of the texts that come without."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, encodes_queries=True)

    def search(self, search: Search) -> list[list[Hit]]:
        return super().search(self._encoded(search))

    def rank(self, search: Search) -> list[Ranking]:
        return super().rank(self._encoded(search))

    def _encoded(self, search: Search) -> Search:
        assert search.vectors is None
        return search.with_vectors(AxisEncoder().encode_queries(search.texts))


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        Retriever(AxisEncoder(), engine).add(PETS)
    with EncodingEngine.open(tmp_path / "index") as engine:
        yield Retriever(None, engine)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_it_is_searched_by_text_in_every_mode(retriever: Retriever) -> None:
    # What test_retriever finds with the encoder outside.
    assert ids(retriever.search("cat", 2, mode="bm25")) == ["d1"]
    assert ids(retriever.search("cat", 2, mode="knn")) == ["d2", "d1"]
    [hit, other] = retriever.search("cat", 2, fusion=Fusion(weights=(0.2, 0.8)))
    assert (hit.id, other.id) == ("d1", "d2")
    assert hit.score == pytest.approx(0.91554, abs=1e-5)
    assert [ids(hits) for hits in retriever.search_many(["", "cat"], 1, mode="knn", offset=1)] == [[], ["d1"]]
    assert retriever.rankings(["cat"], 2, mode="knn")[0].ids == ("d2", "d1")
    assert retriever.rankings(["cat"], 2)[0].ids == tuple(ids(retriever.search("cat", 2)))


def test_awaiting_needs_no_encoder_either(retriever: Retriever) -> None:
    async def session() -> list[Hit]:
        return await AsyncRetriever(retriever).search("cat", 2, mode="knn")

    assert ids(asyncio.run(session())) == ["d2", "d1"]


def test_there_is_still_no_encoder_to_make_vectors_with(retriever: Retriever) -> None:
    assert retriever.searches_vectors
    with pytest.raises(UsageError, match="without its towers"):
        retriever.encode_queries(["cat"])
    with pytest.raises(ModelMismatch, match="no towers"):
        retriever.add(PETS)
