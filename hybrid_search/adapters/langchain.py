"""LangChain's ``VectorStore`` and ``BaseRetriever`` over an index, and its towers as ``Embeddings``.

The index encodes texts with its own towers, so a store needs no embedding of LangChain's. A document's ``page_content``
is its text; its metadata are typed: text, numbers, booleans, lists of texts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from hybrid_search.errors import MissingExtra, RecordsRejected, UsageError
from hybrid_search.filters import Filter
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.search import Mode
from hybrid_search.types import Document as OwnDocument
from hybrid_search.types import Hit

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise MissingExtra(error.name or "langchain-core", "langchain") from None

__all__ = ["HybridSearchRetriever", "HybridSearchVectorStore", "TowerEmbeddings"]


class TowerEmbeddings(Embeddings):
    """The towers of an index: queries are encoded by the query tower, documents by the document tower."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    def embed_query(self, text: str) -> list[float]:
        """Encode a query."""
        return self.embed_queries([text])[0]

    def embed_queries(self, texts: list[str]) -> list[list[float]]:
        """Encode queries."""
        vectors: list[list[float]] = self.retriever.encode_queries(texts).tolist()
        return vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Encode documents."""
        vectors: list[list[float]] = self.retriever.encode_documents(texts).tolist()
        return vectors


class HybridSearchVectorStore(VectorStore):
    """An index as a vector store; the caller closes the retriever.

    :param retriever: from ``hybrid_search.open(LOCATION, writable=True)``, or ``hybrid_search.create``.
    :param mode: how it is searched unless a search says otherwise: hybrid, or bm25 where the index has no vectors.
    """

    def __init__(self, retriever: Retriever, *, mode: Mode | None = None) -> None:
        self.retriever = retriever
        self.mode: Mode = mode or modes_of(retriever)[0]

    @property
    def embeddings(self) -> TowerEmbeddings:
        """The towers of the index."""
        return TowerEmbeddings(self.retriever)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Add texts to the index whose towers ``embedding`` are.

        :param embedding: :class:`TowerEmbeddings` of a retriever that is open to write.
        :raises UsageError: if it is another one: an index has the vectors of its own towers alone.
        """
        if not isinstance(embedding, TowerEmbeddings):
            raise UsageError(
                f"embedding is a {type(embedding).__name__}; give TowerEmbeddings(retriever), as an index is searched "
                f"with the towers that made its vectors"
            )
        store = cls(embedding.retriever, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, or replace those with the same ids; they are found as soon as this returns.

        :raises RecordsRejected: if some were refused; it names them with the reasons, and the others are in.
        """
        given = list(texts)
        named = [id or str(uuid.uuid4()) for id in ids or [None] * len(given)]
        documents = [
            OwnDocument(id, text, metadata=_as_ours(metadata))
            for id, text, metadata in zip(named, given, metadatas or [{}] * len(given), strict=True)
        ]
        rejected = self.retriever.add(documents, allow_rejected=True).rejected
        if rejected:
            reasons = "; ".join(one.reason for one in rejected[:5])
            raise RecordsRejected(f"{len(rejected)} of {len(documents)} documents were refused: {reasons}")
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents; ids that are not there are ignored.

        :raises UsageError: without ids: it does not empty an index.
        """
        if ids is None:
            raise UsageError("ids is None; give the ids of the documents to delete")
        self.retriever.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Fetch documents; ids that are not there are left out."""
        return [_as_theirs(one) for one in self.retriever.get(list(ids)) if one is not None]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Find the k best documents.

        :param kwargs: ``filter`` (an expression or a tree of hybrid_search's filters) and ``mode``.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | str | None = None, mode: Mode | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the k best documents with their scores; higher is better."""
        hits = self.retriever.search(query, k, mode=mode or self.mode, filter=filter)
        return [(_as_theirs(hit), hit.score) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | str | None = None,
        mode: Mode | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find documents that answer the query and differ from one another, among the ``fetch_k`` best.

        Relevance is the score of the search, put between 0 and 1 over these; likeness is that of the stored vectors.

        :param lambda_mult: 1 for relevance alone, 0 for difference alone.
        """
        hits = self.retriever.search(
            query, k, mode=mode or self.mode, filter=filter, rerank_depth=fetch_k, diversity=1 - lambda_mult
        )
        return [_as_theirs(hit) for hit in hits]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        # Scores of the hybrid and of k-NN are in 0..1 already; BM25's have no upper bound.
        return (lambda score: score / (1 + score)) if self.mode == "bm25" else (lambda score: min(score, 1.0))


class HybridSearchRetriever(BaseRetriever):
    """An index as a retriever.

    :ivar retriever: from ``hybrid_search.open(LOCATION)``; the caller closes it.
    :ivar k: how many documents, unless ``invoke`` is given another ``k``.
    :ivar mode: hybrid, bm25 or knn; None for hybrid, or bm25 where the index has no vectors.
    :ivar filter: find only documents that pass; an expression or a tree of hybrid_search's filters.
    """

    retriever: Any
    k: int = 4
    mode: str | None = None
    filter: Any = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **kwargs: Any
    ) -> list[Document]:
        retriever: Retriever = self.retriever
        chosen: Any = kwargs.get("mode", self.mode) or modes_of(retriever)[0]
        hits = retriever.search(query, k or self.k, mode=chosen, filter=kwargs.get("filter", self.filter))
        return [_as_theirs(hit) for hit in hits]


def _as_ours(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in metadata.items()}


def _as_theirs(found: OwnDocument | Hit) -> Document:
    return Document(id=found.id, page_content=found.text, metadata=dict(_shown(found)))


def _shown(found: OwnDocument | Hit) -> Iterator[tuple[str, Any]]:
    """Yield the metadata; a title, which LangChain has no place for, is one unless there is another of that name."""
    if found.title:
        yield "title", found.title
    for name, value in found.metadata.items():
        yield name, list(value) if isinstance(value, tuple) else value
