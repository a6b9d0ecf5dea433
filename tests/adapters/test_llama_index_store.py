"""LlamaIndex's own index and query engine over our store and retriever; ``make adapters`` runs this.

LlamaIndex publishes no suite for stores.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="`make adapters` installs llama-index-core and runs this")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from hybrid_search.adapters.llama_index import HybridSearchRetriever, HybridSearchVectorStore, TowerEmbedding
from hybrid_search.errors import UsageError
from hybrid_search.retrieval.retriever import Retriever


def node(id: str, text: str, source: str = "", **metadata: Any) -> TextNode:
    relations = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)} if source else {}
    return TextNode(id_=id, text=text, metadata=metadata, relationships=relations)


NODES = [
    node("n1", "the kitten sleeps", "pets", year=2020, tags=["small", "soft"]),
    node("n2", "the dog barks", "pets", year=2021),
    node("n3", "an oak", "plants", kind="tree"),
]


@pytest.fixture
def retriever(empty_index: Retriever) -> Retriever:
    return empty_index


@pytest.fixture
def store(retriever: Retriever) -> HybridSearchVectorStore:
    made = HybridSearchVectorStore(retriever)
    assert made.add(NODES) == ["n1", "n2", "n3"]
    return made


def ask(store: HybridSearchVectorStore, text: str, k: int = 3, **more: Any) -> list[str]:
    return list(store.query(VectorStoreQuery(query_str=text, similarity_top_k=k, **more)).ids or [])


def test_what_is_added_comes_back_as_it_was(store: HybridSearchVectorStore) -> None:
    [found, _] = store.get_nodes(["n1", "nosuch", "n3"])
    assert (found.node_id, found.get_content(), found.metadata, found.ref_doc_id) == (
        "n1", "the kitten sleeps", {"year": 2020, "tags": ["small", "soft"]}, "pets",
    )  # fmt: skip


def test_llama_index_s_own_index_inserts_retrieves_and_deletes(retriever: Retriever) -> None:
    store = HybridSearchVectorStore(retriever)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(NODES, storage_context=context, embed_model=TowerEmbedding(retriever))
    [best] = index.as_retriever(similarity_top_k=1).retrieve("cat")
    assert (best.node.node_id, best.node.get_content()) == ("n1", "the kitten sleeps")
    assert [one.node.node_id for one in asyncio.run(index.as_retriever(similarity_top_k=1).aretrieve("oak"))] == ["n3"]
    index.delete_ref_doc("pets")
    assert retriever.count() == 1
    store.clear()
    assert retriever.count() == 0


def test_a_query_engine_gives_its_model_what_the_retriever_found(
    store: HybridSearchVectorStore, retriever: Retriever
) -> None:
    engine = RetrieverQueryEngine.from_args(HybridSearchRetriever(retriever, 1, mode="knn"), llm=MockLLM())
    answer = engine.query("puppy")
    assert [one.node.node_id for one in answer.source_nodes] == ["n2"]
    assert "the dog barks" in str(answer)


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ([MetadataFilter(key="year", operator=FilterOperator.GTE, value=2021)], {"n2"}),
        ([MetadataFilter(key="year", operator=FilterOperator.NE, value=2021)], {"n1", "n3"}),
        ([MetadataFilter(key="tags", operator=FilterOperator.ALL, value=["soft", "small"])], {"n1"}),
        ([MetadataFilter(key="tags", operator=FilterOperator.CONTAINS, value="soft")], {"n1"}),
        ([MetadataFilter(key="kind", operator=FilterOperator.IS_EMPTY, value=None)], {"n1", "n2"}),
        ([MetadataFilter(key="year", operator=FilterOperator.NIN, value=[2020, 2021])], {"n3"}),
        ([MetadataFilters(filters=[MetadataFilter(key="year", value=2020)], condition=FilterCondition.NOT)],
         {"n2", "n3"}),
    ],
)  # fmt: skip
def test_filters_pass_what_their_words_say(store: HybridSearchVectorStore, filters: Any, passing: set[str]) -> None:
    assert set(ask(store, "the kitten, a dog and an oak", filters=MetadataFilters(filters=filters))) == passing


def test_modes_and_alpha_are_those_of_the_index(store: HybridSearchVectorStore) -> None:
    assert ask(store, "cat", mode=VectorStoreQueryMode.TEXT_SEARCH) == []  # no text has the word
    assert ask(store, "kitten", mode=VectorStoreQueryMode.TEXT_SEARCH) == ["n1"]
    assert ask(store, "dog oak", 1, mode=VectorStoreQueryMode.HYBRID, alpha=0.0, doc_ids=["plants"]) == ["n3"]
    with pytest.raises(UsageError, match="mode is mmr"):
        ask(store, "cat", mode=VectorStoreQueryMode.MMR)
    with pytest.raises(UsageError, match="query_str is None"):
        store.query(VectorStoreQuery(query_embedding=[1, 0, 0, 0]))


def test_nodes_are_deleted_by_name_alone(store: HybridSearchVectorStore, retriever: Retriever) -> None:
    store.delete_nodes(["n1", "nosuch"])
    assert retriever.count() == 2
    with pytest.raises(UsageError, match="give node_ids"):
        store.delete_nodes()
    store.delete("pets")
    assert [one.id for one in retriever.documents()] == ["n3"]


def test_the_towers_embed_queries_and_nodes(retriever: Retriever) -> None:
    model = TowerEmbedding(retriever)
    assert model.get_query_embedding("cat") == [1, 0, 0, 0]
    assert model.get_text_embedding_batch(["dog", "oak"]) == [[0, 1, 0, 0], [0, 0, 0, 1]]
