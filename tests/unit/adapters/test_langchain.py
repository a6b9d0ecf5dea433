"""An index as LangChain's vector store, retriever and embeddings; its own suites are in ``tests/adapters``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from hybrid_search.adapters.langchain import HybridSearchRetriever, HybridSearchVectorStore, TowerEmbeddings
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import RecordsRejected, UsageError
from hybrid_search.retrieval.retriever import Retriever


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HybridSearchVectorStore]:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        store = HybridSearchVectorStore(retriever)
        store.add_texts(
            ["cat", "kitten", "dog", "car"],
            [{"lang": "en"}, {"lang": "en", "tags": ["a", "b"]}, {"lang": "de"}, {"lang": "de"}],
            ids=["1", "2", "3", "4"],
        )
        yield store


def test_what_was_added_is_found_with_its_metadata_and_fetched_by_its_id(store: HybridSearchVectorStore) -> None:
    [found] = store.similarity_search("kitten", k=1)
    expected = Document(id="2", page_content="kitten", metadata={"lang": "en", "tags": ["a", "b"]})
    assert found == expected
    assert store.get_by_ids(["nosuch", "2"]) == [expected]


def test_a_filter_and_a_mode_are_arguments_of_a_search(store: HybridSearchVectorStore) -> None:
    assert {one.id for one in store.similarity_search("cat", filter='lang = "de"')} == {"3", "4"}
    [(found, score)] = store.similarity_search_with_score("cat", k=1, mode="knn", filter='lang = "de" and lang != "x"')
    assert (found.id, score) == ("3", pytest.approx(0.5))  # at a right angle: (1 + 0) / 2


def test_relevance_is_between_nought_and_one_in_every_mode(store: HybridSearchVectorStore) -> None:
    for mode in ("hybrid", "bm25", "knn"):
        scored = HybridSearchVectorStore(store.retriever, mode=mode).similarity_search_with_relevance_scores("cat", k=3)
        assert all(0 <= score <= 1 for _, score in scored)
        assert scored[0][0].id == "1"


def test_of_two_that_say_the_same_the_marginal_search_takes_one(store: HybridSearchVectorStore) -> None:
    # "cat" and "kitten" are one axis; a second one of it adds nothing.
    found = store.max_marginal_relevance_search("cat", k=2, fetch_k=4, lambda_mult=0.4, mode="knn")
    assert [one.id for one in found] == ["1", "3"]


def test_its_towers_are_embeddings_and_others_are_refused(store: HybridSearchVectorStore) -> None:
    towers = TowerEmbeddings(store.retriever)
    assert towers.embed_query("dog") == [0, 1, 0, 0]
    assert towers.embed_documents(["car", "x"]) == [[0, 0, 1, 0], [0, 0, 0, 0]]
    other = HybridSearchVectorStore.from_texts(["oak"], towers, ids=["5"])
    assert other.get_by_ids(["5"])[0].page_content == "oak"
    with pytest.raises(UsageError, match="its vectors"):
        HybridSearchVectorStore.from_texts(["oak"], DeterministicFakeEmbedding(size=4))


def test_a_text_that_is_refused_is_named_and_the_others_are_in(store: HybridSearchVectorStore) -> None:
    with pytest.raises(RecordsRejected, match="1 of 2 documents were refused: text and title are empty"):
        store.add_texts(["", "tree"], ids=["6", "7"])
    assert [one.id for one in store.get_by_ids(["6", "7"])] == ["7"]


def test_nothing_is_deleted_unless_it_is_named(store: HybridSearchVectorStore) -> None:
    with pytest.raises(UsageError, match="ids is None"):
        store.delete()
    assert store.delete(["1", "nosuch"])
    assert len(store.get_by_ids(["1", "2", "3", "4"])) == 3


def test_a_retriever_takes_another_k_when_it_is_asked(store: HybridSearchVectorStore) -> None:
    retriever = HybridSearchRetriever(retriever=store.retriever, k=1, filter='lang = "en"')
    assert [one.id for one in retriever.invoke("cat")] == ["1"]
    assert {one.id for one in retriever.invoke("cat", k=4)} == {"1", "2"}
    assert [one.id for one in store.as_retriever(search_kwargs={"k": 1}).invoke("dog")] == ["3"]
