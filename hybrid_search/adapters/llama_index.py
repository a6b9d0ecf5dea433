"""LlamaIndex's retriever and vector store over an index, and its towers as an embedding model.

The index encodes texts with its own towers: a store takes queries as text, and does not keep the embeddings of nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.errors import MissingExtra, UsageError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.search import Mode
from hybrid_search.types import Document, Hit

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import (
        BaseNode,
        MetadataMode,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
except ImportError as error:
    raise MissingExtra(error.name or "llama-index-core", "llama-index") from None

__all__ = ["HybridSearchRetriever", "HybridSearchVectorStore", "TowerEmbedding", "filter_of"]

_SOURCE = "ref_doc_id"
"""The metadata field of the id of the document that a node was cut from."""
_MODES: Mapping[VectorStoreQueryMode, Mode] = {
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.TEXT_SEARCH: "bm25",
    VectorStoreQueryMode.SPARSE: "bm25",
}
_BOUNDS = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}


class TowerEmbedding(BaseEmbedding):
    """The towers of an index: queries are encoded by the query tower, nodes by the document tower."""

    _retriever: Retriever = PrivateAttr()

    def __init__(self, retriever: Retriever, **kwargs: Any) -> None:
        super().__init__(model_name=retriever.engine.settings.fingerprint, **kwargs)
        self._retriever = retriever

    @classmethod
    def class_name(cls) -> str:
        """The class's name when it is written down."""
        return "TowerEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._retriever.encode_queries([query])[0].tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._retriever.encode_documents(texts).tolist()
        return vectors


class HybridSearchRetriever(BaseRetriever):
    """An index as a retriever.

    :param retriever: from ``hybrid_search.open(LOCATION)``; the caller closes it.
    :param similarity_top_k: how many nodes.
    :param mode: hybrid, bm25 or knn; None for hybrid, or bm25 where the index has no vectors.
    :param filters: find only documents that pass; LlamaIndex's, or an expression or tree of hybrid_search's.
    """

    def __init__(
        self,
        retriever: Retriever,
        similarity_top_k: int = 2,
        *,
        mode: Mode | None = None,
        filters: MetadataFilters | Filter | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.retriever = retriever
        self.similarity_top_k = similarity_top_k
        self.mode = mode
        self.filters = filter_of(filters) if isinstance(filters, MetadataFilters) else filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        mode = self.mode or modes_of(self.retriever)[0]
        hits = self.retriever.search(query_bundle.query_str, self.similarity_top_k, mode=mode, filter=self.filters)
        return [NodeWithScore(node=_as_node(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class HybridSearchVectorStore(BasePydanticVectorStore):
    """An index as a vector store; the caller closes the retriever.

    :param retriever: from ``hybrid_search.open(LOCATION, writable=True)``, or ``hybrid_search.create``.
    :param mode: how a query of the mode ``default`` is searched; hybrid, or bm25 where the index has no vectors.
    """

    stores_text: bool = True
    is_embedding_query: bool = False

    _retriever: Retriever = PrivateAttr()
    _mode: Mode = PrivateAttr()

    def __init__(self, retriever: Retriever, *, mode: Mode | None = None) -> None:
        super().__init__(stores_text=True, is_embedding_query=False)
        self._retriever = retriever
        self._mode = mode or modes_of(retriever)[0]

    @classmethod
    def class_name(cls) -> str:
        """The class's name when it is written down."""
        return "HybridSearchVectorStore"

    @property
    def client(self) -> Retriever:
        """The open index."""
        return self._retriever

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, or replace those with the same ids; they are found as soon as this returns.

        :raises RecordsRejected: if some were refused; it names them with the reasons, and the others are in.
        """
        self._retriever.add(_as_document(node) for node in nodes)
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes; see :meth:`add`."""
        return await asyncio.to_thread(self.add, nodes)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document; reads every document of the index."""
        nodes = self._retriever.documents()
        self._retriever.delete([one.id for one in nodes if one.metadata.get(_SOURCE) == ref_doc_id])

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by their ids; ids that are not there are ignored.

        :raises UsageError: without ids, or with filters: it deletes what was named, and nothing else.
        """
        if node_ids is None or filters is not None:
            raise UsageError("give node_ids, and no filters: this store deletes what is named")
        self._retriever.delete(node_ids)

    def clear(self) -> None:
        """Delete every node; the index stays."""
        self._retriever.delete([one.id for one in self._retriever.documents()])

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Fetch nodes by their ids; ids that are not there are left out.

        :raises UsageError: without ids, or with filters.
        """
        if node_ids is None or filters is not None:
            raise UsageError("give node_ids, and no filters: a store's nodes are found by query()")
        return [_as_node(one) for one in self._retriever.get(node_ids) if one is not None]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Search by the query's text; ``alpha`` is the weight of the vectors in the hybrid.

        :raises UsageError: if the query has no text, names nodes, or has a mode that this index does not have.
        """
        if query.query_str is None:
            raise UsageError("query_str is None; an index encodes a query's text with its own tower")
        if query.node_ids or (query.mode not in _MODES and query.mode != VectorStoreQueryMode.DEFAULT):
            raise UsageError(
                f"mode is {query.mode.value} and node_ids {query.node_ids}; give default, hybrid or text_search"
            )
        mode = _MODES.get(query.mode, self._mode)
        fusion = None
        if query.alpha is not None and mode == "hybrid":
            fusion = self._retriever.fusion.replace(weights=(round(1 - query.alpha, 12), query.alpha))
        parts = [filter_of(query.filters)] if query.filters is not None else []
        parts += [Terms(_SOURCE, tuple(query.doc_ids))] if query.doc_ids else []
        k = query.hybrid_top_k if mode == "hybrid" and query.hybrid_top_k else query.similarity_top_k
        hits = self._retriever.search(
            query.query_str, k, mode=mode, filter=And(tuple(parts)) if parts else None, fusion=fusion
        )
        return VectorStoreQueryResult(
            nodes=[_as_node(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Search; see :meth:`query`."""
        return await asyncio.to_thread(self.query, query)


def filter_of(filters: MetadataFilters) -> Filter:
    """Translate LlamaIndex's filters to those of hybrid_search.

    :raises UsageError: if an operator has no equal there (a search within texts).
    """
    parts = tuple(filter_of(one) if isinstance(one, MetadataFilters) else _comparison(one) for one in filters.filters)
    if filters.condition == FilterCondition.NOT:
        return Not(Or(parts))
    return Or(parts) if filters.condition == FilterCondition.OR else And(parts)


def _comparison(one: MetadataFilter) -> Filter:
    name, value, operator = one.key, one.value, one.operator
    several = tuple(value) if isinstance(value, list) else None
    if operator == FilterOperator.IS_EMPTY:
        return Not(Exists(name))
    if several is not None:
        if operator in (FilterOperator.IN, FilterOperator.ANY):
            return Terms(name, several)
        if operator == FilterOperator.NIN:
            return Not(Terms(name, several))
        if operator == FilterOperator.ALL:
            return And(tuple(Term(name, part) for part in several))
    elif value is not None and operator in _BOUNDS:
        return Range(name, **{_BOUNDS[operator]: value})
    elif value is not None and operator in (FilterOperator.EQ, FilterOperator.CONTAINS, FilterOperator.NE):
        same = Term(name, value)
        return Not(same) if operator == FilterOperator.NE else same
    raise UsageError(f"the filter {name} {operator.value} {value!r} has no equal here; see docs/frameworks.md")


def _as_document(node: BaseNode) -> Document:
    metadata = {name: tuple(value) if isinstance(value, list) else value for name, value in node.metadata.items()}
    if node.ref_doc_id:
        metadata[_SOURCE] = node.ref_doc_id
    return Document(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), metadata=metadata)


def _as_node(found: Document | Hit) -> TextNode:
    metadata = {name: list(value) if isinstance(value, tuple) else value for name, value in found.metadata.items()}
    source = metadata.pop(_SOURCE, None)
    relations = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=str(source))} if source else {}
    shown = {"title": found.title, **metadata} if found.title else metadata
    return TextNode(id_=found.id, text=found.text, metadata=shown, relationships=relations)
