"""Haystack's own suites for document stores, their extensions and asynchronous twins; ``make adapters`` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("haystack", reason="`make adapters` installs haystack-ai and runs this")

from fakes import AXIS_SETTINGS
from haystack import Document, Pipeline
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.errors import FilterError
from haystack.testing.document_store import DocumentStoreBaseExtendedTests
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)

from hybrid_search.adapters.haystack import HybridSearchDocumentStore, HybridSearchRetriever
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever


@pytest.fixture
def store(empty_index: Retriever) -> HybridSearchDocumentStore:
    return HybridSearchDocumentStore(retriever=empty_index)


class Equal:
    """What the suites let a store say: when documents are equal. An index keeps its own vectors, and no others."""

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        def plain(documents: list[Document]) -> list[Document]:
            return [Document(id=one.id, content=one.content, meta=one.meta) for one in documents]

        assert plain(received) == plain(expected)

    @pytest.fixture
    def document_store(self, store: HybridSearchDocumentStore) -> HybridSearchDocumentStore:
        return store


class TestStore(Equal, DocumentStoreBaseExtendedTests):
    def test_write_documents(self, document_store: HybridSearchDocumentStore) -> None:
        """The suite leaves to each store what it does without a policy: here a duplicate is an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


class TestStoreAsync(
    Equal, CountDocumentsAsyncTest, WriteDocumentsAsyncTest, DeleteDocumentsAsyncTest, FilterDocumentsAsyncTest,
    DeleteAllAsyncTest, DeleteByFilterAsyncTest, UpdateByFilterAsyncTest,
):  # fmt: skip
    async def test_write_documents_async(self, document_store: HybridSearchDocumentStore) -> None:
        """As above."""
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


PETS = [
    Document(id="d1", content="the kitten sleeps", meta={"year": 2020, "tags": ["small", "soft"]}),
    Document(id="d2", content="the dog barks", meta={"year": 2021}),
    Document(id="d3", content="an oak"),
]


def found(store: HybridSearchDocumentStore, query: str, **more: object) -> list[str]:
    return [one.id for one in HybridSearchRetriever(store).run(query, **more)["documents"]]


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({"field": "meta.year", "operator": ">=", "value": 2021}, {"d2"}),
        ({"field": "year", "operator": "!=", "value": 2021}, {"d1", "d3"}),
        ({"field": "meta.year", "operator": "==", "value": None}, {"d3"}),
        ({"field": "meta.tags", "operator": "in", "value": ["soft", "hard"]}, {"d1"}),
        ({"field": "meta.year", "operator": "not in", "value": [2020]}, {"d2", "d3"}),
        (
            {"operator": "NOT", "conditions": [{"field": "meta.year", "operator": "<", "value": 2021}]}, {"d2", "d3"},
        ),
        (
            {"operator": "OR", "conditions": [
                {"field": "meta.year", "operator": "==", "value": 2020},
                {"operator": "AND", "conditions": [{"field": "meta.year", "operator": ">", "value": 2020}]},
            ]},
            {"d1", "d2"},
        ),
    ],
)  # fmt: skip
def test_a_search_passes_the_same_documents_as_a_filter_of_the_store(
    store: HybridSearchDocumentStore, filters: dict[str, object], passing: set[str]
) -> None:
    store.write_documents(list(PETS))
    assert set(found(store, "the kitten, a dog and an oak", filters=filters)) == passing


def test_a_search_is_best_first_and_has_scores(store: HybridSearchDocumentStore) -> None:
    store.write_documents(list(PETS))
    [best, _] = HybridSearchRetriever(store, top_k=2, mode="knn").run("cat")["documents"]
    assert (best.id, best.meta["tags"], best.score) == ("d1", ["small", "soft"], pytest.approx(1.0))
    with pytest.raises(FilterError, match="year"):
        found(store, "cat", filters={"field": "meta.nosuch", "operator": "==", "value": 1})


def test_what_is_refused_is_named(store: HybridSearchDocumentStore) -> None:
    with pytest.raises(DocumentStoreError, match=r"1 of 2 documents were refused: text"):
        store.write_documents([PETS[0], Document(id="empty")])
    assert store.count_documents() == 1


def test_a_pipeline_is_written_down_and_read_again(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "plain", AXIS_SETTINGS.__class__()) as engine:
        Retriever(None, engine).add([])
    pipeline = Pipeline()
    pipeline.add_component("search", HybridSearchRetriever(HybridSearchDocumentStore(str(tmp_path / "plain")), top_k=3))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["hybrid_search.adapters.haystack"])
    retriever = again.get_component("search")
    assert retriever.top_k == 3
    retriever.document_store.write_documents([PETS[1]])
    assert [one.id for one in again.run({"search": {"query": "dog"}})["search"]["documents"]] == ["d2"]
    retriever.document_store.close()
