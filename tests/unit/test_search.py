"""A search is checked where it comes in, and says what it was given."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import FilterError, HybridSearchError, ModelMismatch, UnsupportedCapability, UsageError
from hybrid_search.filters import Term
from hybrid_search.search import Search
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.types import Document


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"k": 0}, UsageError, "k is 0; it must be from 1 to 10000"),
        ({"k": 10_001}, UsageError, "k is 10001; it must be from 1 to 10000"),
        ({"k": "5"}, UsageError, "k is '5' and offset 0; both must be whole numbers"),
        ({"offset": -1}, UsageError, "offset is -1; it must be from 0 to 9995 with k 5"),
        ({"offset": 9_996}, UsageError, "offset is 9996; it must be from 0 to 9995 with k 5: 10000 ranks is the limit"),
        ({"offset": 20, "fusion": Fusion(window=10)}, UsageError, "offset is 20; it must be 0 to 19"),
        ({"mode": "dense"}, UsageError, "mode is 'dense'; it must be one of hybrid, bm25, knn"),
        ({"fusion": "rrf"}, UsageError, r"fusion is 'rrf'; give a hybrid_search\.Fusion"),
        ({"bm25": 1.2, "mode": "bm25"}, UsageError, r"bm25 is 1\.2; give a hybrid_search\.Bm25"),
        ({"bm25": Bm25(), "mode": "knn"}, UsageError, "given with mode 'knn'; they apply to mode 'bm25'"),
        ({"filter": 3}, UsageError, "filter is 3; give an expression"),
        ({"filter": "year >"}, FilterError, "filter"),
        ({"queries": "cat"}, UsageError, "queries is one text; give a list of texts"),
        ({"queries": ["cat", None]}, UsageError, "queries holds None, which is no text"),
    ],
)
def test_what_no_engine_can_answer_is_refused(
    given: dict[str, Any], error: type[HybridSearchError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Search.of(**{"queries": ["cat"], "k": 5, **given})


def test_it_holds_what_was_given_as_engines_take_it() -> None:
    search = Search.of(["a?b", ""], 5, filter="lang = en", offset=3, fusion=Fusion(window=10))
    assert (search.texts, search.filter) == (["a?b", ""], Term("lang", "en"))
    assert (search.offset, search.end) == (3, 8)
    assert time.perf_counter() - 60 < search.began <= time.perf_counter()


def test_only_a_hybrid_search_has_a_fusion_and_its_page_lies_inside_the_index_s() -> None:
    assert Search.of(["cat"], 5, "bm25", fusion=Fusion()).fusion is None
    assert Search.of(["cat"], 5, "knn", offset=300).with_fusion(Fusion(window=10)).fusion is None
    assert Search.of(["cat"], 5).with_fusion(Fusion(window=10)).fusion == Fusion(window=10)
    assert Search.of(["cat"], 5, fusion=Fusion(window=9)).with_fusion(Fusion(window=10)).fusion == Fusion(window=9)
    with pytest.raises(UsageError, match="offset is 20; it must be 0 to 19"):
        Search.of(["cat"], 5, offset=20).with_fusion(Fusion(window=10))


def test_a_search_by_vectors_alone_has_a_query_for_each_row() -> None:
    search = Search.near(np.eye(3, dtype=np.float32), 2)
    assert (search.texts, search.mode, search.exact) == (["", "", ""], "knn", False)
    assert search.vectors_of(3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        (None, UsageError, "does not encode queries"),
        (np.ones((2, 4), np.float32), UsageError, "must be 1 rows"),
        (np.ones((1, 4), np.int64), UsageError, "int64"),
        (np.ones((1, 3), np.float32), ModelMismatch, "dimension 3, the index holds vectors of dimension 4"),
        (np.array([[1, np.nan, 0, 0]], np.float32), UsageError, "not finite"),
        (np.array([[1e300, 0, 0, 0]]), UsageError, "not finite"),
    ],
)
def test_vectors_that_are_not_the_index_s_are_refused(
    vectors: Any, error: type[HybridSearchError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Search.of(["cat"], 5, vectors=vectors).vectors_of(4)


def test_a_folder_that_walks_a_graph_does_not_pass_it_off_as_exact(tmp_path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    for kind in ("Flat", "HNSW8"):
        settings = IndexSettings(fingerprint="f", dimension=4, faiss=kind)
        with EmbeddedEngine.create(tmp_path / kind, settings) as engine:
            engine.add([Document(str(row), "text") for row in range(4)], vectors)
            engine.commit()
            exact = Search.near(vectors[2:3], 1, exact=True)
            if kind == "Flat":
                assert engine.rank(exact)[0].ids == ("2",)
            else:
                with pytest.raises(UnsupportedCapability, match="walks a graph"):
                    engine.rank(exact)
