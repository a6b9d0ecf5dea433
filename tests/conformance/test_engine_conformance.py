"""What every engine must do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from asked import by_both, by_text, by_vector
from fleas import FLEAS, VECTORS, ids

from hybrid_search.errors import FilterError, ModelMismatch, UsageError
from hybrid_search.filters import Filter, Or, Range, Term, Terms
from hybrid_search.filters.parser import parse_filter
from hybrid_search.protocols import Engine
from hybrid_search.search import MODES, Mode, Search
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings, Similarity
from hybrid_search.types import Document, Leg, Ranking


def test_documents_come_back_as_they_were_added(filled: Engine) -> None:
    assert filled.get(["sea", "nowhere", "flea"]) == [FLEAS[2], None, FLEAS[0]]
    assert list(filled.documents()) == list(FLEAS)
    assert filled.count() == 3


def test_nothing_is_found_before_the_commit_where_the_engine_says_so(engine: Engine) -> None:
    assert engine.capabilities.hides_uncommitted == (engine.capabilities.engine == "embedded")
    if not engine.capabilities.hides_uncommitted:
        pytest.skip("what was sent comes to light by itself: tests/integration/test_opensearch_writers.py")
    engine.add(FLEAS, VECTORS)
    assert engine.count() == 0
    assert by_text(engine, ["flea"], 5) == [Ranking((), ())]
    assert by_vector(engine, VECTORS[:1], 5) == [Ranking((), ())]


def test_a_document_is_found_by_its_text_and_by_its_vector(filled: Engine) -> None:
    lexical = by_text(filled, ["Life cycles", "sea"], 5)
    assert [ids(ranking) for ranking in lexical] == [["flea"], ["sea"]]
    dense = by_vector(filled, np.array([[1, 0], [0, 2]], np.float32), 2)
    assert [ids(ranking) for ranking in dense] == [["flea", "dog"], ["sea", "dog"]]


def test_the_title_is_searched_too(filled: Engine) -> None:
    assert ids(by_text(filled, ["pet"], 5)[0]) == ["dog"]


def test_the_bm25_score_is_lucenes_without_the_factor_of_k1_plus_1(filled: Engine) -> None:
    # "sea" in 1 of 3 documents of 6, 5 and 4 terms: idf = ln(1 + 2.5/1.5), average length 5.
    expected = np.log(1 + 2.5 / 1.5) * 1 / (1 + 1.2 * (0.25 + 0.75 * 4 / 5))
    assert by_text(filled, ["sea"], 5)[0].scores == pytest.approx((expected,), rel=1e-6)


def test_k1_and_b_can_be_given_with_a_search(filled: Engine) -> None:
    if not filled.capabilities.bm25_at_query_time:
        pytest.skip("this engine takes k1 and b when an index is made")
    expected = np.log(1 + 2.5 / 1.5) * 1 / (1 + 0.9 * (0.6 + 0.4 * 4 / 5))
    assert by_text(filled, ["sea"], 5, bm25=Bm25(k1=0.9, b=0.4))[0].scores == pytest.approx((expected,), rel=1e-6)


def test_a_word_that_stands_twice_in_the_query_counts_twice(filled: Engine) -> None:
    once, twice = by_text(filled, ["sea", "sea sea"], 5)
    assert twice.scores == pytest.approx((2 * once.scores[0],), rel=1e-6)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        pytest.param("cosine", {"flea": 1.0, "dog": (1 + 0.6) / 2, "sea": 0.5}, id="cosine"),
        pytest.param("dot", {"flea": 3.0, "dog": 1 + 1.2, "sea": 1.0}, id="dot"),
        pytest.param("l2", {"flea": 1 / 2, "dog": 1 / (1 + 1.96 + 0.64), "sea": 1 / 6}, id="l2"),
    ],
)
def test_knn_scores_are_in_opensearchs_scale(
    make_engine: Callable[[IndexSettings], Engine], similarity: Similarity, expected: dict[str, float]
) -> None:
    engine = make_engine(IndexSettings(dimension=2, similarity=similarity))
    engine.add(FLEAS, VECTORS)
    engine.commit()
    ranking = by_vector(engine, np.array([[2, 0]], np.float32), 3)[0]
    assert dict(zip(ranking.ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-6)


def test_a_negative_dot_product_scores_between_0_and_1(make_engine: Callable[[IndexSettings], Engine]) -> None:
    engine = make_engine(IndexSettings(dimension=2, similarity="dot"))
    engine.add(FLEAS[:1], np.array([[-3, 0]], np.float32))
    engine.commit()
    assert by_vector(engine, np.array([[1, 0]], np.float32), 1)[0].scores == pytest.approx((0.25,))


def test_ties_are_broken_by_id_also_at_the_cut(engine: Engine) -> None:
    documents = [Document(f"d{number:03}", "same words here") for number in range(300, 0, -1)]
    engine.add(documents, np.tile(np.array([[1, 2]], np.float32), (300, 1)))
    engine.commit()
    expected = [f"d{number:03}" for number in range(1, 8)]
    assert ids(by_text(engine, ["same words"], 7)[0]) == expected
    assert ids(by_vector(engine, np.array([[1, 1]], np.float32), 7)[0]) == expected


def test_adding_an_id_again_replaces_the_document_in_both_legs(filled: Engine) -> None:
    replacement = Document("flea", "an octopus", metadata={"year": 1999})
    filled.add([replacement], np.array([[-1, 0]], np.float32))
    filled.commit()
    assert filled.count() == 3
    assert filled.get(["flea"]) == [replacement]
    assert ids(by_text(filled, ["cycle"], 5)[0]) == []
    assert ids(by_text(filled, ["octopus"], 5)[0]) == ["flea"]
    assert ids(by_vector(filled, VECTORS[:1], 3)[0]) == ["dog", "sea", "flea"]
    assert ids(by_text(filled, ["octopus"], 5, parse_filter("year < 2000"))[0]) == ["flea"]
    assert ids(by_text(filled, ["octopus"], 5, parse_filter("year = 2019"))[0]) == []
    assert [document.id for document in filled.documents()] == ["flea", "dog", "sea"]


def test_of_one_id_twice_in_a_batch_the_last_counts(engine: Engine) -> None:
    engine.add([Document("a", "first"), Document("a", "second")], VECTORS[:2])
    engine.commit()
    assert engine.count() == 1
    assert engine.get(["a"]) == [Document("a", "second")]


def test_a_deleted_document_is_gone_from_both_legs(filled: Engine) -> None:
    assert filled.delete(["flea", "nowhere"]) == 1
    assert filled.count() == 3
    filled.commit()
    assert filled.count() == 2
    assert filled.get(["flea"]) == [None]
    assert ids(by_text(filled, ["flea"], 5)[0]) == ["dog"]
    assert ids(by_vector(filled, VECTORS[:1], 5)[0]) == ["dog", "sea"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("year >= 2021", {"dog", "sea"}),
        ("year > 2021", {"sea"}),
        ("year < 2021 or lang = de", {"flea", "dog", "sea"}),
        ("lang = en and not year = 2019", {"dog"}),
        ("lang in (de, fr)", {"dog", "sea"}),
        ("rank >= 1", {"sea"}),
        ("rank = 2", {"sea"}),
        ("exists(rank)", {"flea", "sea"}),
        ("not exists(rank)", {"dog"}),
        ("open = true", {"flea"}),
        ("open != true", {"dog", "sea"}),
        ('lang >= "de" and lang < "e"', {"dog", "sea"}),
        ("year = 1900", set()),
    ],
)
def test_a_filter_narrows_both_legs_before_the_top_k(filled: Engine, expression: str, expected: set[str]) -> None:
    filter = parse_filter(expression)
    assert set(by_text(filled, ["flea sea"], 5, filter)[0].ids) == expected
    assert set(by_vector(filled, VECTORS[:1], 5, filter)[0].ids) == expected
    hits = by_both(filled, ["flea sea"], VECTORS[:1], 5, filter=filter)[0]
    assert {hit.id for hit in hits} == expected


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Term("price", 0.0), {"minus", "plus"}),
        (Term("price", -0.0), {"minus", "plus"}),
        (Term("price", 0), {"minus", "plus"}),
        (Terms("price", (-0.0, 1.0)), {"minus", "plus", "one"}),
        (Or((Term("price", 0.0), Term("price", 1.0))), {"minus", "plus", "one"}),
        (Range("price", gt=-0.0), {"one"}),
        (Range("price", gte=0.0), {"minus", "plus", "one"}),
        (Range("price", lt=0.0), {"less"}),
        (Range("price", lte=-0.0), {"less", "minus", "plus"}),
        (Range("year", gte=0, lt=1), {"plus"}),
        (Term("year", 0), {"plus"}),
    ],
)
def test_minus_zero_is_zero_in_every_comparison(engine: Engine, filter: Filter, expected: set[str]) -> None:
    prices = {"less": (-1.0, -1), "minus": (-0.0, 2), "plus": (0.0, 0), "one": (1.0, 1)}
    rows = [Document(name, "flea", metadata={"price": price, "year": year}) for name, (price, year) in prices.items()]
    assert engine.add(rows, np.ones((4, 2), np.float32)) == []
    engine.commit()
    assert set(by_text(engine, ["flea"], 5, filter)[0].ids) == expected


def test_a_filter_does_not_change_scores(filled: Engine) -> None:
    free = by_text(filled, ["flea"], 5)[0]
    narrowed = by_text(filled, ["flea"], 5, parse_filter("year = 2021"))[0]
    assert narrowed.scores == (free.scores[free.ids.index("dog")],)


def test_a_filter_on_an_unknown_field_names_the_fields(filled: Engine) -> None:
    with pytest.raises(FilterError, match=r"no field 'yaer'.*lang \(keyword\), open \(boolean\).*year \(long\)"):
        by_text(filled, ["flea"], 5, parse_filter("yaer = 1"))


def test_a_value_of_another_type_is_refused_and_the_rest_goes_in(filled: Engine) -> None:
    bad = Document("bad", "text", metadata={"year": "2020"})
    rejections = filled.add([bad, Document("good", "text", metadata={"year": 2020})], VECTORS[:2])
    filled.commit()
    assert [(rejection.field, rejection.source) for rejection in rejections] == [("year", "index")]
    assert "'2020', which is keyword; the index has it as long" in rejections[0].reason
    assert '"id": "bad"' in rejections[0].record
    assert filled.get(["bad", "good"])[0] is None
    assert filled.count() == 4


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param(Document("", "text"), "id", id="no id"),
        pytest.param(Document("é" * 257, "text"), "id", id="id of 514 bytes"),
        pytest.param(Document("a", " \n"), "text", id="blank text"),
        pytest.param(Document("a", "half \ud800 pair"), "text", id="lone surrogate"),
        pytest.param(Document("a", "text", metadata={"n": float("nan")}), "n", id="not a number"),
        pytest.param(Document("a", "text", metadata={"n": 2**63}), "n", id="number of 65 bits"),
        pytest.param(Document("a", "text", metadata={"n": None}), "n", id="null"),  # type: ignore[dict-item]
    ],
)
def test_a_bad_document_is_refused(engine: Engine, document: Document, field: str) -> None:
    rejections = engine.add([document], None)
    engine.commit()
    assert [rejection.field for rejection in rejections] == [field]
    assert engine.count() == 0


def test_a_vector_that_is_not_finite_refuses_its_document(engine: Engine) -> None:
    vectors = np.array([[np.nan, 0], [np.inf, 0], [1, 1]], np.float32)
    assert [rejection.field for rejection in engine.add(FLEAS, vectors)] == ["vector", "vector"]
    engine.commit()
    assert engine.count() == 1


def test_vectors_of_another_length_are_refused_with_both_numbers(filled: Engine) -> None:
    wrong = np.ones((1, 3), np.float32)
    with pytest.raises(ModelMismatch, match=r"dimension 3.*dimension 2"):
        filled.add(FLEAS[:1], wrong)
    with pytest.raises(ModelMismatch, match=r"dimension 3.*dimension 2"):
        by_vector(filled, wrong, 5)
    with pytest.raises(UsageError, match="must be 3 rows"):
        filled.add(FLEAS, VECTORS[:2])
    with pytest.raises(UsageError, match="int64"):
        by_vector(filled, np.ones((1, 2), np.int64), 5)  # type: ignore[arg-type]


def test_a_document_with_a_zero_vector_is_found_by_its_text_only(engine: Engine) -> None:
    engine.add(FLEAS[:2], np.array([[0, 0], [1, 0]], np.float32))
    engine.commit()
    assert ids(by_text(engine, ["flea"], 5)[0]) == ["dog", "flea"]
    assert ids(by_vector(engine, VECTORS[:1], 5)[0]) == ["dog"]


def test_a_zero_query_vector_leaves_the_answer_to_bm25(filled: Engine) -> None:
    zero = np.zeros((1, 2), np.float32)
    assert by_vector(filled, zero, 5) == [Ranking((), ())]
    for weights in ((0.5, 0.5), (0.0, 1.0)):
        vectors = np.concatenate([zero, VECTORS[:1]])
        hits, known = by_both(filled, ["flea", "flea"], vectors, 5, fusion=Fusion(weights=weights))
        assert [(hit.id, sorted(hit.legs)) for hit in hits] == [("dog", ["bm25"]), ("flea", ["bm25"])]
        assert [hit.legs["bm25"].weight for hit in hits] == [1.0, 1.0]
        assert [hit.score for hit in hits] == pytest.approx([1.0, 0.001])
        assert ("bm25" in known[0].legs) == bool(weights[0])


@pytest.mark.parametrize("text", ["", "   ", "!?", "🙂", "zzzzunknown"])
def test_a_query_without_known_words_is_left_to_knn(filled: Engine, text: str) -> None:
    assert by_text(filled, [text], 5) == [Ranking((), ())]
    hits = by_both(filled, [text], VECTORS[:1], 2)[0]
    assert [(hit.id, sorted(hit.legs)) for hit in hits] == [("flea", ["knn"]), ("dog", ["knn"])]


@pytest.mark.parametrize("text", ["flea AND", '"flea', "flea:(", "text:flea~", "-flea +", "flea\x00"])
def test_a_query_has_no_syntax_to_get_wrong(filled: Engine, text: str) -> None:
    assert "flea" in by_text(filled, [text], 5)[0].ids


def test_k_may_exceed_the_corpus_and_must_be_positive(filled: Engine) -> None:
    assert len(by_text(filled, ["flea sea of"], 10_000)[0]) == 3
    assert len(by_vector(filled, VECTORS[:1], 10_000)[0]) == 3
    for k in (0, -1):
        with pytest.raises(UsageError, match=f"k is {k}"):
            by_text(filled, ["flea"], k)
        with pytest.raises(UsageError, match=f"k is {k}"):
            by_vector(filled, VECTORS[:1], k)


def test_an_empty_index_finds_nothing(engine: Engine) -> None:
    assert by_text(engine, ["flea"], 5) == [Ranking((), ())]
    assert by_vector(engine, VECTORS[:1], 5) == [Ranking((), ())]
    assert by_both(engine, ["flea"], VECTORS[:1], 5) == [[]]
    assert list(engine.documents()) == []


def test_no_queries_give_no_answers(filled: Engine) -> None:
    assert by_text(filled, [], 5) == []
    assert by_vector(filled, np.empty((0, 2), np.float32), 5) == []


def test_a_hybrid_hit_explains_both_legs(filled: Engine) -> None:
    # BM25 for "sea waves": sea alone (1.0). k-NN: sea 1.0, dog .9, flea .5 -> min-max 1, .8, .001.
    hits = by_both(filled, ["sea waves"], np.array([[0, 1]], np.float32), 5)[0]
    assert [hit.id for hit in hits] == ["sea", "dog", "flea"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.4, 0.0005], abs=1e-6)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].legs["knn"].score == pytest.approx(1.0)
    assert hits[0].legs["bm25"].share == pytest.approx(0.5)
    assert sorted(hits[1].legs) == ["knn"]
    assert (hits[1].text, hits[1].title) == (FLEAS[1].text, "Pets")
    assert hits[1].metadata == FLEAS[1].metadata


@pytest.mark.parametrize("mode", MODES)
def test_a_ranking_has_the_ids_and_scores_of_the_hits_page_by_page(filled: Engine, mode: Mode) -> None:
    search = Search.of(["flea sea", "dog", ""], 2, mode, vectors=VECTORS, offset=1)
    hits = filled.search(search)
    assert filled.rank(search) == [
        Ranking(tuple(hit.id for hit in of_query), tuple(hit.score for hit in of_query)) for of_query in hits
    ]
    assert [[hit.rank for hit in of_query] for of_query in hits] == [[2, 3][: len(of_query)] for of_query in hits]
    assert any(hits)


def test_pages_continue_one_ranking(filled: Engine) -> None:
    whole = by_both(filled, ["flea sea"], VECTORS[1:2], 3)[0]
    pages = [by_both(filled, ["flea sea"], VECTORS[1:2], 1, offset=offset)[0] for offset in range(4)]
    assert [page[0] for page in pages[:3]] == whole
    assert pages[3] == []


def test_an_offset_outside_the_window_is_refused(filled: Engine) -> None:
    with pytest.raises(UsageError, match=r"offset is 20; it must be 0 to 19"):
        by_both(filled, ["flea"], VECTORS[:1], 5, offset=20, fusion=Fusion(window=10))
    with pytest.raises(UsageError, match="offset is -1"):
        by_both(filled, ["flea"], VECTORS[:1], 5, offset=-1)


def test_the_hits_of_one_leg_carry_its_name(filled: Engine) -> None:
    [[hit]] = filled.search(Search.of(["flea"], 5, "bm25", offset=1))
    assert (hit.id, hit.rank, hit.text) == ("flea", 2, FLEAS[0].text)
    assert hit.legs == {"bm25": Leg(hit.score, 2, normalised=hit.score, weight=1.0, share=1.0)}


def test_a_text_alone_and_in_a_batch_gets_the_same_ranking(filled: Engine) -> None:
    texts = ["flea", "sea", "", "dog life"] * 10
    assert by_text(filled, texts, 3) == [by_text(filled, [text], 3)[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        pytest.param("Café CRÈME", "café crème", id="accents and case"),
        pytest.param("smile🙂now", "now smile", id="emoji separates"),
        pytest.param("東京タワー は 高い", "高い", id="japanese runs"),
        pytest.param("don't e-mail x_y", "mail y", id="punctuation separates"),
        pytest.param("running quickly", "run quick", id="stems"),
        pytest.param("route 66b", "66b", id="digits"),
    ],
)
def test_texts_are_cut_into_terms_as_documented(engine: Engine, text: str, query: str) -> None:
    engine.add([Document("a", text), Document("b", "something else")], None)
    engine.commit()
    assert ids(by_text(engine, [query], 5)[0]) == ["a"]


def test_a_document_of_one_megabyte_is_found_and_returned(engine: Engine) -> None:
    long = Document("long", "needle " + "hay " * 262_144)
    assert engine.add([long, Document("short", "hay")], None) == []
    engine.commit()
    assert ids(by_text(engine, ["needle"], 5)[0]) == ["long"]
    assert engine.get(["long"]) == [long]


def test_an_index_carries_the_model_that_made_its_vectors(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = tmp_path_factory.mktemp("model")
    (files / "model.json").write_text("{}")
    assert engine.model_folder() is None
    engine.store_model([files / "model.json"])
    (files / "model.json").write_text('{"new": 1}')
    engine.store_model([files / "model.json"])
    folder = engine.model_folder()
    assert folder is not None
    assert [path.read_text() for path in folder.iterdir()] == ['{"new": 1}']


def test_a_fusion_that_is_set_is_carried_by_the_index_and_used_by_its_searches(filled: Engine) -> None:
    asked = (["flea"], np.array([[0.6, 0.8]], np.float32), 4)
    assert any("knn" in hit.legs for hit in by_both(filled, *asked)[0])
    declared = filled.settings
    filled.set_fusion(Fusion(weights=(1.0, 0.0), window=50))
    filled.commit()
    assert filled.settings == declared.declaring("fusion", fusion=Fusion(weights=(1.0, 0.0), window=50))
    assert not any("knn" in hit.legs for hit in by_both(filled, *asked)[0])


def test_vectors_can_be_read_back_by_id(filled: Engine) -> None:
    known = {document.id: vector for document, vector in zip(FLEAS, VECTORS, strict=True) if vector.any()}
    stored = filled.vectors([*(document.id for document in FLEAS), "no such document"])
    assert stored.keys() == known.keys()
    for id, vector in stored.items():
        assert vector.tolist() == pytest.approx(known[id].tolist(), rel=1e-6)
