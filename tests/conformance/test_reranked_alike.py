"""Hits are ranked again alike on every engine: by a reranker, and by the stored vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from hybrid_search.protocols import Engine, Vectors
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Mode
from hybrid_search.settings.index import Similarity
from hybrid_search.types import Hit


class East:
    """Every text looks the same way."""

    fingerprint, dimension = "towers", 2
    similarity: Similarity = "cosine"

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.array([[1, 0]], np.float32), (len(texts), 1))

    encode_documents = encode_queries


def by_length(query: str, hits: Sequence[Hit]) -> list[int]:
    return [len(hit.searchable_text) for hit in hits]


@pytest.mark.parametrize("mode", MODES)
def test_a_reranker_s_scores_decide_and_what_was_before_is_kept(filled: Engine, mode: Mode) -> None:
    retriever = Retriever(East(), filled)
    before = retriever.search("flea dog sea", mode=mode)
    hits = retriever.search("flea dog sea", mode=mode, rerank=by_length)
    # "the life cycle of a flea", "Pets a dog has fleas", "waves of the sea"
    assert [(hit.id, hit.rank, hit.score) for hit in hits] == [("flea", 1, 24), ("dog", 2, 20), ("sea", 3, 16)]
    first = {hit.id: (hit.rank, hit.score) for hit in before}
    assert {hit.id: (hit.first_rank, hit.first_score) for hit in hits} == first
    assert {hit.id: dict(hit.legs) for hit in hits} == {hit.id: dict(hit.legs) for hit in before}
    assert asyncio.run(_asynchronously(retriever, mode)) == hits


async def _asynchronously(retriever: Retriever, mode: Mode) -> list[Hit]:
    async with AsyncRetriever(retriever) as twin:  # at its end the index is closed
        return await twin.search("flea dog sea", mode=mode, rerank=by_length)


def test_the_stored_vectors_decide_what_is_alike(filled: Engine) -> None:
    # (1 + cosine) / 2 is 1, .8 and .5, between 0 and 1 that is 1, .6 and 0; flea and dog are alike by .6, dog and sea
    # by .8. After flea (.4) sea has 0 - 0, dog .24 - .36; after sea dog has .24 - .48.
    hits = Retriever(East(), filled).search("anything", mode="knn", diversity=0.6)
    assert [hit.id for hit in hits] == ["flea", "sea", "dog"]
    assert [hit.score for hit in hits] == pytest.approx([0.4, 0, -0.24], abs=1e-5)
    assert [hit.first_rank for hit in hits] == [1, 3, 2]
