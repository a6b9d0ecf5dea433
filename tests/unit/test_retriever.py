from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from fakes import PETS, AxisEncoder, MemoryEngine

from hybrid_search.config import Bm25, Fusion, IndexSettings
from hybrid_search.errors import FilterError, ModelMismatch, UsageError
from hybrid_search.filters import Term
from hybrid_search.retriever import AsyncRetriever, Retriever
from hybrid_search.types import Document


@pytest.fixture
def retriever() -> Retriever:
    retriever = Retriever(AxisEncoder(), MemoryEngine())
    retriever.add(PETS)
    return retriever


def ids(hits) -> list[str]:
    return [hit.id for hit in hits]


def test_bm25_finds_words_and_knn_finds_meanings(retriever) -> None:
    assert ids(retriever.search("cat", mode="bm25")) == ["d1"]
    assert ids(retriever.search("cat", mode="knn", k=2)) == ["d2", "d1"]


def test_hybrid_joins_both_legs_and_explains_each(retriever) -> None:
    hits = retriever.search("cat", k=2, fusion=Fusion(weights=(0.2, 0.8)))
    # d2: k-NN 1.0 alone, .8; d1: BM25 1.0 and k-NN (.9472 - .5) / .5 = .8944, .2 + .7155.
    assert ids(hits) == ["d1", "d2"]
    assert hits[0].score == pytest.approx(0.91554, abs=1e-5)
    assert set(hits[0].legs) == {"bm25", "knn"}
    assert set(hits[1].legs) == {"knn"}
    assert hits[0].text == "cat cat dog"


@pytest.mark.parametrize("mode", ["bm25", "knn"])
def test_a_hit_of_a_single_leg_carries_that_leg(retriever, mode) -> None:
    assert set(retriever.search("cat", mode=mode)[0].legs) == {mode}


def test_titles_are_searched_in_both_legs(retriever) -> None:
    assert ids(retriever.search("puppy", mode="bm25")) == ["d3"]
    assert retriever.search("puppy", k=1, mode="knn")[0].id == "d3"


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
def test_an_empty_or_blank_query_finds_nothing(retriever, mode) -> None:
    assert retriever.search_many(["", " \t\n", "cat"], mode=mode)[:2] == [[], []]
    assert retriever.search_many(["", " \t\n", "cat"], mode=mode)[2]


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.0, 1.0)])
def test_a_query_the_towers_do_not_know_is_answered_by_bm25_alone(retriever, weights) -> None:
    hits = retriever.search("sleeps", fusion=Fusion(weights=weights))
    assert ids(hits) == ["d5", "d2"]
    assert [hit.legs["bm25"].weight for hit in hits] == [1.0, 1.0]


def test_a_query_the_towers_do_not_know_has_no_knn_hits(retriever) -> None:
    assert retriever.search("sleeps", mode="knn") == []


def test_known_and_unknown_queries_of_one_batch_keep_their_places(retriever) -> None:
    batch = ["sleeps", "cat", "", "dog", "nothing at all"]
    assert retriever.search_many(batch) == [retriever.search(query) for query in batch]


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
def test_pages_are_pieces_of_the_whole_list(retriever, mode) -> None:
    whole = retriever.search("cat dog sleeps", 10, mode=mode)
    assert [hit.rank for hit in whole] == list(range(1, len(whole) + 1))
    pages = [retriever.search("cat dog sleeps", 2, mode=mode, offset=offset) for offset in (0, 2, 4)]
    assert [hit for page in pages for hit in page] == whole


def test_a_page_behind_the_last_hit_is_empty(retriever) -> None:
    assert retriever.search("cat", mode="bm25", offset=50) == []


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
@pytest.mark.parametrize("condition", [Term("lang", "de"), 'lang = "de"'])
def test_a_filter_holds_in_every_mode_as_a_tree_and_as_text(retriever, mode, condition) -> None:
    assert set(ids(retriever.search("dog car", mode=mode, filter=condition))) == {"d3", "d4"}


def test_a_filter_that_cannot_be_parsed_is_refused(retriever) -> None:
    with pytest.raises(FilterError):
        retriever.search("dog", filter="lang = = de")


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_k_outside_its_range_is_refused(retriever, k) -> None:
    with pytest.raises(UsageError, match="it must be from 1 to 10000"):
        retriever.search("dog", k)


def test_an_offset_beyond_the_deepest_rank_is_refused(retriever) -> None:
    with pytest.raises(UsageError, match="offset is 9996; it must be from 0 to 9995 with k 5"):
        retriever.search("dog", offset=9_996)


def test_an_unknown_mode_is_refused_with_the_good_ones(retriever) -> None:
    with pytest.raises(UsageError, match="mode is 'dense'; it must be one of hybrid, bm25, knn"):
        retriever.search("dog", mode="dense")


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
def test_rankings_have_the_order_and_scores_of_the_hits(retriever, mode) -> None:
    queries = ["cat dog", "", "sleeps"]
    rankings = retriever.rankings(queries, 10, mode=mode)
    found = retriever.search_many(queries, 10, mode=mode)
    assert [ranking.ids for ranking in rankings] == [tuple(ids(hits)) for hits in found]
    assert [ranking.scores for ranking in rankings] == [tuple(hit.score for hit in hits) for hits in found]


def test_bm25_parameters_reach_the_lexical_leg_and_no_other(retriever) -> None:
    assert retriever.rankings(["cat"], 5, mode="bm25", bm25=Bm25(k1=2.4))[0].scores == (4.0,)
    with pytest.raises(UsageError, match="mode 'hybrid'; they apply to mode 'bm25'"):
        retriever.rankings(["cat"], 5, bm25=Bm25())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (IndexSettings(fingerprint="other", dimension=4), "built with model other .* model given is axes"),
        (IndexSettings(fingerprint="axes", dimension=8), r"\(8 dimensions.*\(4 dimensions"),
        (IndexSettings(fingerprint="axes", dimension=4, similarity="dot"), "dot similarity.* cosine similarity"),
        (IndexSettings(), "the index holds no vectors"),
    ],
)
def test_a_model_that_did_not_make_the_index_is_refused(settings, message) -> None:
    with pytest.raises(ModelMismatch, match=message):
        Retriever(AxisEncoder(), MemoryEngine(settings))


def test_without_towers_only_bm25_is_answered() -> None:
    retriever = Retriever(None, MemoryEngine(IndexSettings()))
    retriever.add(PETS)
    assert ids(retriever.search("cat", mode="bm25")) == ["d1"]
    with pytest.raises(UsageError, match="no towers"):
        retriever.search("cat")


def test_adding_without_towers_to_an_index_with_vectors_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="holds vectors of model axes"):
        Retriever(None, MemoryEngine()).add(PETS)


def test_adding_streams_in_batches_and_commits_once() -> None:
    retriever = Retriever(AxisEncoder(), MemoryEngine())
    report = retriever.add((document for document in PETS), batch_size=2)
    assert (report.added, report.rejected) == (5, ())
    assert retriever.engine.batches == [2, 2, 1]
    assert retriever.engine.commits == 1


def test_rejected_documents_are_reported_and_the_rest_goes_on() -> None:
    retriever = Retriever(AxisEncoder(), MemoryEngine())
    report = retriever.add([Document("empty", ""), *PETS])
    assert report.added == 5
    assert [rejection.record for rejection in report.rejected] == ["empty"]


def test_deleted_documents_are_gone_and_missing_ids_are_ignored(retriever) -> None:
    assert retriever.delete(["d1", "none"]) == 1
    assert retriever.get(["d1", "d2"]) == [None, PETS[1]]
    assert retriever.search("cat", mode="bm25") == []


def test_texts_are_encoded_in_order_and_unknown_ones_are_zero_rows(retriever) -> None:
    assert retriever.encode_queries(["dog", "unknown"]).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert retriever.encode_documents(["car"]).tolist() == [[0, 0, 1, 0]]
    assert retriever.encode_queries(["dog"]).dtype == np.float32


def test_the_fusion_is_the_indexs_unless_one_is_given() -> None:
    settings = IndexSettings(fingerprint="axes", dimension=4, fusion=Fusion(window=7))
    assert Retriever(AxisEncoder(), MemoryEngine(settings)).fusion == Fusion(window=7)
    assert Retriever(AxisEncoder(), MemoryEngine(settings), Fusion(window=9)).fusion == Fusion(window=9)


def test_leaving_the_context_closes_the_engine() -> None:
    with Retriever(AxisEncoder(), MemoryEngine()) as retriever:
        pass
    assert retriever.engine.closed


def test_the_async_twin_answers_alike_and_off_the_event_loop(retriever) -> None:
    threads = []

    class Watching(AxisEncoder):
        def encode_queries(self, texts):
            threads.append(threading.get_ident())
            return super().encode_queries(texts)

    async def session():
        async with AsyncRetriever(Retriever(Watching(), MemoryEngine())) as twin:
            report = await twin.add(PETS)
            hits, many = await asyncio.gather(twin.search("cat"), twin.search_many(["dog", ""], 3))
            return report, hits, many, await twin.get(["d1"]), await twin.delete(["d1"])

    report, hits, many, documents, deleted = asyncio.run(session())
    assert (report.added, documents, deleted) == (5, [PETS[0]], 1)
    assert hits == retriever.search("cat")
    assert many == retriever.search_many(["dog", ""], 3)
    assert threading.get_ident() not in threads
