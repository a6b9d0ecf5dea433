from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import FilterError, ModelMismatch, RecordsRejected, UsageError
from hybrid_search.filters import Term
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.types import Document


@pytest.fixture
def engine(tmp_path) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        yield engine


@pytest.fixture
def plain_engine(tmp_path) -> Iterator[EmbeddedEngine]:
    """Holds no vectors."""
    with EmbeddedEngine.create(tmp_path / "plain", IndexSettings()) as engine:
        yield engine


@pytest.fixture
def retriever(engine) -> Retriever:
    retriever = Retriever(AxisEncoder(), engine)
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


def test_an_open_index_is_fused_by_weights_that_another_process_fitted_again_unless_some_were_given(
    engine, retriever, tmp_path
) -> None:
    with EmbeddedEngine.open(tmp_path / "index") as one, EmbeddedEngine.open(tmp_path / "index") as other:
        reader, given = Retriever(AxisEncoder(), one), Retriever(AxisEncoder(), other, Fusion(weights=(0.0, 1.0)))
        assert set(reader.search("cat", k=2)[0].legs) == {"bm25", "knn"}
        engine.set_fusion(Fusion(weights=(1.0, 0.0)))
        engine.commit()
        assert [set(hit.legs) for hit in reader.search("cat", k=2)] == [{"bm25"}]  # the very next search
        assert reader.fusion.weights == (1.0, 0.0)
        assert [set(hit.legs) for hit in given.search("cat", k=1)] == [{"knn"}]


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
    # With k1 0 only the idf is left: ln(1 + (5 - 1 + .5) / (1 + .5)) = ln 4.
    (ranking,) = retriever.rankings(["cat"], 5, mode="bm25", bm25=Bm25(k1=0, b=0.75))
    assert ranking.scores == pytest.approx((1.386294,), abs=1e-5)
    with pytest.raises(UsageError, match="mode 'hybrid'; they apply to mode 'bm25'"):
        retriever.rankings(["cat"], 5, bm25=Bm25())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (AxisEncoder("other"), "built with model axes .* model given is other"),
        (AxisEncoder(similarity="dot"), r"\(4 dimensions, cosine.*\(4 dimensions, dot"),
    ],
)
def test_a_model_that_did_not_make_the_index_is_refused(engine, encoder, message) -> None:
    with pytest.raises(ModelMismatch, match=message):
        Retriever(encoder, engine)


def test_a_model_of_other_dimensions_is_refused(tmp_path) -> None:
    engine = EmbeddedEngine.create(tmp_path, IndexSettings(fingerprint="axes", dimension=8))
    with engine, pytest.raises(ModelMismatch, match=r"\(8 dimensions.*\(4 dimensions"):
        Retriever(AxisEncoder(), engine)


def test_a_model_is_refused_by_an_index_without_vectors(plain_engine) -> None:
    with pytest.raises(ModelMismatch, match="the index holds no vectors"):
        Retriever(AxisEncoder(), plain_engine)


def test_without_towers_only_bm25_is_answered(plain_engine) -> None:
    retriever = Retriever(None, plain_engine)
    retriever.add(PETS)
    assert ids(retriever.search("cat", mode="bm25")) == ["d1"]
    with pytest.raises(UsageError, match="holds no vectors; search with mode 'bm25'"):
        retriever.search("cat", mode="hybrid")


def test_a_search_that_names_no_mode_is_by_bm25_where_there_are_no_vectors(plain_engine) -> None:
    retriever = Retriever(None, plain_engine)
    retriever.add(PETS)
    assert ids(retriever.search("cat")) == ids(asyncio.run(AsyncRetriever(retriever).search("cat"))) == ["d1"]
    assert (retriever.matches("cat").total, retriever.rankings(["cat"], 5)[0].ids) == (1, ("d1",))
    assert ids(retriever.search("cat", fusion=Fusion())) == ["d1"]
    with pytest.raises(UsageError, match="min_knn was given with mode 'bm25'"):
        retriever.search("cat", min_knn=0.5)
    retriever.close()
    for mode in (None, "bm25", "hybrid", "knn"):
        with pytest.raises(UsageError, match="the index is closed; open it again"):
            retriever.search("cat", mode=mode)


def test_adding_without_towers_to_an_index_with_vectors_is_refused(engine) -> None:
    with pytest.raises(ModelMismatch, match="holds vectors of model axes"):
        Retriever(None, engine).add(PETS)


class Watching(AxisEncoder):
    """Notes the size of each batch and the thread it is encoded in."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def encode_queries(self, texts):
        self.batches.append(len(texts))
        self.threads.add(threading.get_ident())
        return super().encode_queries(texts)


def test_adding_encodes_in_batches_and_commits(engine) -> None:
    encoder = Watching()
    report = Retriever(encoder, engine).add((document for document in PETS), batch_size=2)
    assert (report.added, report.rejected) == (5, ())
    assert encoder.batches == [2, 2, 1]
    assert engine.count() == 5


def test_rejected_documents_are_reported_and_the_rest_goes_on(engine) -> None:
    report = Retriever(AxisEncoder(), engine).add([Document("", "no id"), *PETS], allow_rejected=True)
    assert report.added == 5
    assert [rejection.field for rejection in report.rejected] == ["id"]


def test_rejected_documents_are_an_error_unless_they_are_allowed_and_the_others_are_in(engine) -> None:
    message = "2 of 7 documents were rejected, the others are in: .*; the error's `rejected` has them"
    with pytest.raises(RecordsRejected, match=message) as raised:
        Retriever(AxisEncoder(), engine).add([Document("", "no id"), *PETS, Document("blank", " ")])
    assert [rejection.field for rejection in raised.value.rejected] == ["id", "text"]
    assert engine.count() == 5


def test_a_batch_size_below_one_is_refused(retriever) -> None:
    with pytest.raises(UsageError, match="batch_size is 0"):
        retriever.add(PETS, batch_size=0)


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
def test_a_document_added_again_is_found_once_also_after_a_search(retriever, mode) -> None:
    before = ids(retriever.search("cat dog", mode=mode))
    retriever.add(PETS)
    assert ids(retriever.search("cat dog", mode=mode)) == before


def test_deleted_documents_are_gone_and_missing_ids_are_ignored(retriever) -> None:
    assert retriever.delete(["d1", "none"]) == 1
    assert retriever.get(["d1", "d2"]) == [None, PETS[1]]
    assert retriever.search("cat", mode="bm25") == []


@pytest.mark.parametrize("ids", ["d1", [1], None])
def test_ids_that_are_no_list_of_texts_delete_nothing(retriever, ids) -> None:
    with pytest.raises(UsageError, match="ids"):
        retriever.delete(ids)
    assert retriever.get(["d1"]) == [PETS[0]]


def test_a_malformed_document_is_rejected_and_the_rest_goes_on(retriever) -> None:
    bad = [Document("n", None), Document("m", "cat", metadata=["x"]), Document("t", "cat", title=5)]
    report = retriever.add([*bad, Document("good", "car")], allow_rejected=True)
    assert (report.added, [(one.field, one.source) for one in report.rejected]) == (
        1,
        [("text", "index"), ("metadata", "index"), ("title", "index")],
    )
    assert retriever.get(["good", "m"]) == [Document("good", "car"), None]


@pytest.mark.parametrize("documents", [Document("a", "cat"), None, 5])
def test_documents_that_are_no_list_are_refused(retriever, documents) -> None:
    with pytest.raises(UsageError, match="give a list of"):
        retriever.add(documents)


def test_texts_are_encoded_in_order_and_unknown_ones_are_zero_rows(retriever) -> None:
    assert retriever.encode_queries(["dog", "unknown"]).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert retriever.encode_documents(["car"]).tolist() == [[0, 0, 1, 0]]
    assert retriever.encode_queries(["dog"]).dtype == np.float32


def test_the_fusion_is_the_indexs_unless_one_is_given(tmp_path) -> None:
    with EmbeddedEngine.create(tmp_path, AXIS_SETTINGS.replace(fusion=Fusion(window=7))) as engine:
        assert Retriever(AxisEncoder(), engine).fusion == Fusion(window=7)
        assert Retriever(AxisEncoder(), engine, Fusion(window=9)).fusion == Fusion(window=9)


def test_leaving_the_context_closes_the_engine(engine) -> None:
    with Retriever(AxisEncoder(), engine) as retriever:
        retriever.add(PETS)
    with pytest.raises(UsageError, match="closed"):
        retriever.search("cat")


def test_the_async_twin_answers_alike_and_off_the_event_loop(retriever) -> None:
    encoder, oak = Watching(), Document("d6", "oak")

    async def session():
        async with AsyncRetriever(Retriever(encoder, retriever.engine)) as twin:
            report = await twin.add([oak])
            expected = retriever.search("cat"), retriever.search_many(["dog", ""], 3)
            found = await asyncio.gather(twin.search("cat"), twin.search_many(["dog", ""], 3))
            return report, expected, tuple(found), await twin.get(["d6"]), await twin.delete(["d6"])

    report, expected, found, documents, deleted = asyncio.run(session())
    assert (report.added, documents, deleted) == (1, [oak], 1)
    assert found == expected
    assert encoder.threads
    assert threading.get_ident() not in encoder.threads


def test_the_asynchronous_retriever_takes_a_retriever_and_no_location():
    with pytest.raises(UsageError, match=r"retriever is '\./index'; give what hybrid_search\.open"):
        AsyncRetriever("./index")


@pytest.mark.parametrize("query", ["a\ud800b", "\udcff"])
def test_a_query_with_a_lone_surrogate_is_refused_as_a_document_with_one_is(retriever: Retriever, query: str) -> None:
    for ask in (retriever.search, retriever.matches, lambda text: retriever.encode_queries([text])):
        with pytest.raises(UsageError, match="lone surrogate"):
            ask(query)


def test_of_documents_with_one_id_the_last_is_taken_and_counted_once(retriever: Retriever) -> None:
    bad = [Document("d8", "bad", metadata={"": 1}), Document(["d8"], "bad")]
    twice = [Document("d9", "first"), Document("d9", "second"), Document("d8", "other"), *bad]
    report = retriever.add(twice, allow_rejected=True)
    assert (report.added, len(report.rejected), retriever.get(["d9"])) == (2, 2, [Document("d9", "second")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": None}, "None, which is no text"),
        ({"query": "x", "k": "5"}, "whole numbers"),
        ({"query": "x", "filter": 3}, "filter is 3"),
    ],
)
def test_an_argument_of_another_type_is_a_usage_error(
    retriever: Retriever, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        retriever.search(**arguments)  # type: ignore[arg-type]


def test_one_text_is_not_taken_for_a_list_of_its_letters(retriever: Retriever) -> None:
    with pytest.raises(UsageError, match="one text"):
        retriever.encode_queries("abc")


def test_an_argument_of_another_name_is_refused_as_python_and_a_type_checker_do(retriever: Retriever) -> None:
    with pytest.raises(TypeError, match=r"unexpected argument 'fliter'; .* filter, offset, fusion, group"):
        retriever.search("cat", fliter="lang = en")  # type: ignore[call-arg]
    for name in ("bm25", "vectors", "exact"):  # a search has them, but its user does not give them
        with pytest.raises(TypeError, match=f"unexpected argument '{name}'"):
            retriever.search_many(["cat"], 5, mode="bm25", **{name: None})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected argument 'highlight'"):
        retriever.matches("cat", highlight=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected argument 'groups'"):
        asyncio.run(AsyncRetriever(retriever).search_many(["cat"], groups=1))  # type: ignore[call-arg]


def test_only_documents_can_be_added(retriever: Retriever) -> None:
    with pytest.raises(UsageError, match=r"no hybrid_search\.Document"):
        retriever.add([{"id": "a"}])  # type: ignore[list-item]


def test_sizes_and_counts_are_told_to_those_who_wait_too(retriever: Retriever) -> None:
    assert asyncio.run(AsyncRetriever(retriever).stats()) == retriever.stats() == dict(retriever.engine.stats())
