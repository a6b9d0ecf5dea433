"""The second stage: a reranker's scores, pages of them, wrong ones, and hits that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

import hybrid_search
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import RerankingFailed, UsageError
from hybrid_search.passages import passage_id
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.open_index import IndexSource
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Hit

QUERY = "cat dog sleeps"


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(PETS)
        yield retriever


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def by_length(query: str, hits: Sequence[Hit]) -> list[int]:
    return [len(hit.searchable_text) for hit in hits]


class Counting:
    """Gives every hit the same score, and notes how many it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, query: str, hits: Sequence[Hit]) -> np.ndarray[Any, Any]:
        self.asked.append((query, len(hits)))
        return np.zeros(len(hits), np.float32)


def test_hits_have_the_rank_and_score_of_the_reranker_and_what_they_were_before(retriever: Retriever) -> None:
    before = {hit.id: hit for hit in retriever.search(QUERY)}
    # d2 has 17 characters, d5 13, d1 11, "puppy dog" 9, "car" 3.
    hits = retriever.search(QUERY, rerank=by_length)
    assert [(hit.id, hit.rank, hit.score) for hit in hits[:4]] == [
        ("d2", 1, 17), ("d5", 2, 13), ("d1", 3, 11), ("d3", 4, 9),
    ]  # fmt: skip
    for hit in hits:
        old = before[hit.id]
        assert (hit.first_rank, hit.first_score, hit.legs) == (old.rank, old.score, old.legs)
        assert (old.first_rank, old.first_score) == (None, None)


def test_equal_scores_are_ordered_by_id_and_only_the_first_hits_are_scored(retriever: Retriever) -> None:
    counting = Counting()
    first = ids(retriever.search(QUERY, 3))
    assert ids(retriever.search(QUERY, 5, rerank=counting, rerank_depth=3)) == sorted(first)
    assert counting.asked == [(QUERY, 3)]
    assert [len(hits) for hits in retriever.search_many(["", "cat"], rerank=counting)] == [0, 4]
    assert counting.asked[1:] == [("cat", 4)]  # a query that finds nothing is not asked about


@pytest.mark.parametrize("more", [{"rerank": by_length}, {"diversity": 0.6}, {"rerank": by_length, "diversity": 0.2}])
@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
def test_pages_are_pieces_of_the_whole_list(retriever: Retriever, mode: Any, more: dict[str, Any]) -> None:
    whole = retriever.search(QUERY, 10, mode=mode, **more)
    assert [hit.rank for hit in whole] == list(range(1, len(whole) + 1))
    assert [hit.score for hit in whole] == sorted((hit.score for hit in whole), reverse=True)
    pages = [retriever.search(QUERY, 2, mode=mode, offset=offset, **more) for offset in (0, 2, 4)]
    assert [hit for page in pages for hit in page] == whole


def test_a_page_behind_what_is_reranked_is_refused_in_words(retriever: Retriever) -> None:
    with pytest.raises(UsageError, match="offset is 3; it must be 0 to 2, as so many hits are ranked again"):
        retriever.search(QUERY, 2, offset=3, rerank=by_length, rerank_depth=3)


def test_what_a_filter_or_a_least_score_leaves_out_is_never_reranked(retriever: Retriever) -> None:
    assert ids(retriever.search(QUERY, filter="lang = de", rerank=by_length)) == ["d3", "d4"]
    assert ids(retriever.search("cat", mode="knn", min_score=0.9, rerank=by_length)) == ["d2", "d1"]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], r"scores of shape \(1,\) for 5 hits; it must give one number for each"),
        ([[1.0]] * 5, r"scores of shape \(5, 1\)"),
        (None, r"scores of shape \(\)"),
        (["a"] * 5, r"the reranker gave \['a'"),
        (["1"] * 5, "it must give one number for each hit"),
        ([1, 2, 3, 10**30, "5"], "it must give one number for each hit"),
        (np.array([1, 2, 3, 4, 5j]), "it must give one number for each hit"),
        ([1, 2, 3, 4, 10**400], "it must give one number for each hit"),
        ([1, 2, float("nan"), 4, 5], "the score nan for hit 3; scores must be finite"),
        ([1, 2, 3, 4, float("inf")], "the score inf for hit 5"),
    ],
)
def test_scores_that_are_not_one_finite_number_for_each_hit_are_refused(
    retriever: Retriever, scores: Any, message: str
) -> None:
    with pytest.raises(RerankingFailed, match=message):
        retriever.search(QUERY, rerank=lambda query, hits: scores)


def test_an_error_of_a_reranker_is_told_with_its_cause_and_the_index_goes_on(retriever: Retriever) -> None:
    def broken(query: str, hits: Sequence[Hit]) -> list[float]:
        raise KeyError("weights")

    with pytest.raises(RerankingFailed, match="failed on the 5 hits of a query: KeyError: 'weights'") as caught:
        retriever.search(QUERY, rerank=broken)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.exit_code == 10
    assert len(retriever.search(QUERY)) == 5

    def refused(query: str, hits: Sequence[Hit]) -> list[float]:
        raise UsageError("of the library itself")

    with pytest.raises(UsageError, match="of the library itself"):
        retriever.search(QUERY, rerank=refused)


def test_a_reranker_of_the_index_holds_for_every_search_that_does_not_say_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with Retriever(AxisEncoder(), EmbeddedEngine.create(folder, AXIS_SETTINGS)) as made:
        made.add(PETS)
        plain, reranked = ids(made.search(QUERY)), ids(made.search(QUERY, rerank=by_length))
    with EmbeddedEngine.open(folder) as engine:
        retriever = Retriever(AxisEncoder(), engine).reranking(by_length, 4)
        assert ids(retriever.search(QUERY)) == ids(retriever.search(QUERY, rerank=True)) == reranked[:4]
        assert ids(retriever.search(QUERY, rerank=False)) == plain
        assert ids(retriever.search(QUERY, rerank=Counting(), rerank_depth=5)) == sorted(plain)
        assert retriever.rankings([QUERY], 5)[0].ids == tuple(plain)  # of an evaluation, which names its own
        assert retriever.rankings([QUERY], 5, second=SecondStage(5, by_length))[0].ids == tuple(reranked)
    with hybrid_search.open(folder, model=None, rerank=by_length) as opened:
        assert opened.search("sleeps", mode="bm25")[0].score == 17
    with pytest.raises(UsageError, match="rerank is 'cross-encoder'; give a callable"):
        hybrid_search.open(folder, rerank="cross-encoder")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rerank": True}, "the index was opened without a reranker"),
        ({"rerank": "model"}, "rerank is 'model'; give a callable"),
        ({"rerank": np.ones(3)}, "rerank is an object of type ndarray; give a callable"),
        ({"rerank": by_length, "rerank_depth": 0}, "rerank_depth is 0; it must be a whole number from 1 to 10000"),
        ({"rerank": by_length, "rerank_depth": 2.5}, "rerank_depth is 2.5"),
        ({"rerank_depth": 5}, "rerank_depth is 5, and nothing is reranked"),
        ({"rerank": False, "rerank_depth": 5}, "nothing is reranked"),
        ({"diversity": 1.1}, "diversity is 1.1; it must be a number from 0 to 1"),
        ({"diversity": float("nan")}, "diversity is nan"),
        ({"k": "5", "rerank": by_length}, "k is '5'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(retriever: Retriever, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        retriever.search_many(**{"queries": ["cat"], **given})


def test_hits_that_differ_are_chosen_one_after_the_other(retriever: Retriever) -> None:
    # Scores of k-NN, (1 + cosine) / 2: d2 1, d1 (cosine 2 / sqrt 5 = .8944) .9472, d3 and d4 .5. Between 0 and 1: 1,
    # .8944, 0, 0. First d2: .4. Of d1 (.4 x .8944 - .6 x .8944 = -.1789), d3 and d4 (0 - 0) the next is d3, by its id;
    # then d4; d1 is as near to d2 as before.
    hits = retriever.search("cat", mode="knn", diversity=0.6)
    assert ids(hits) == ["d2", "d3", "d4", "d1"]
    assert [hit.score for hit in hits] == pytest.approx([0.4, 0, 0, -0.2 * 2 / 5**0.5], abs=1e-5)
    assert [(hit.first_rank, hit.first_score) for hit in hits[:2]] == [(1, pytest.approx(1)), (3, pytest.approx(0.5))]
    plain = retriever.search("cat", mode="knn")
    assert ids(retriever.search("cat", mode="knn", diversity=0)) == ids(plain)
    assert ids(retriever.search("cat", 2, mode="knn", diversity=0.6, rerank_depth=2)) == ["d2", "d1"]


def test_diversity_comes_after_the_reranker_and_what_has_no_vector_is_like_nothing(retriever: Retriever) -> None:
    # "sleeps" finds d2 and d5, which has no vector. Lengths 17 and 13: relevance 1 and 0.
    hits = retriever.search("sleeps", mode="bm25", rerank=by_length, diversity=0.5)
    assert [(hit.id, hit.score) for hit in hits] == [("d2", 0.5), ("d5", 0.0)]
    assert [hit.first_rank for hit in hits] == [2, 1]
    assert retriever.search("nothing that is known", diversity=0.5) == []


def test_an_index_without_vectors_has_no_diversity(tmp_path: Path) -> None:
    with Retriever(None, EmbeddedEngine.create(tmp_path / "plain", IndexSettings())) as plain:
        plain.add([Document("a", "cat"), Document("b", "cat cat")])
        assert ids(plain.search("cat", rerank=by_length)) == ["b", "a"]
        with pytest.raises(UsageError, match="the index holds no vectors, by which hits could be alike"):
            plain.search("cat", diversity=0.5)


def test_highlights_are_of_the_page_that_is_shown(retriever: Retriever) -> None:
    [hit] = retriever.search("sleeps", 1, mode="bm25", rerank=by_length, highlight=True)
    [plain] = retriever.search("sleeps", 1, mode="bm25", rerank=by_length)
    assert replace(hit, highlights=None) == plain
    assert (hit.id, hit.highlights and hit.highlights.text) == ("d2", ((11, 17),))


def test_the_asynchronous_retriever_and_one_through_a_source_rerank_alike(retriever: Retriever) -> None:
    through = Retriever.through(IndexSource(retriever.source.current)).reranking(by_length)

    async def ask() -> list[Hit]:
        return await AsyncRetriever(through).search(QUERY, diversity=0.1)

    assert asyncio.run(ask()) == through.search(QUERY, diversity=0.1)
    assert through.search(QUERY) == retriever.search(QUERY, rerank=by_length)


def test_a_document_of_passages_is_judged_by_its_best_one(tmp_path: Path) -> None:
    engine = EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)
    with Retriever(AxisEncoder(), engine) as retriever:
        passages = {"a": ("cat", "cat and much more"), "b": ("cat sleeps",)}
        retriever.add(
            Document(passage_id(id, n), text, metadata={"passage_of": id, "passage": n, "passages": len(texts)})
            for id, texts in passages.items()
            for n, text in enumerate(texts, 1)
        )
        seen: list[str] = []

        def noting(query: str, hits: Sequence[Hit]) -> list[int]:
            seen.extend(hit.text for hit in hits)
            return by_length(query, hits)

        assert ids(retriever.search("cat", mode="bm25", rerank=noting)) == ["b", "a"]
        assert seen == ["cat", "cat sleeps"]
        assert ids(retriever.search("cat", mode="knn", diversity=0.5)) == ["a", "b"]
