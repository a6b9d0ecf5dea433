"""Haystack's document store and retriever over an index.

The index encodes texts with its own towers, so a document's ``embedding`` is not kept. Its ``meta`` is typed: text,
numbers, booleans, lists of texts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from hybrid_search.api import open as open_index
from hybrid_search.errors import FilterError as OwnFilterError
from hybrid_search.errors import MissingExtra
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.types import Document as OwnDocument
from hybrid_search.types import Hit

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
    from haystack.utils.filters import document_matches_filter
except ImportError as error:
    raise MissingExtra(error.name or "haystack-ai", "haystack") from None

__all__ = ["HybridSearchDocumentStore", "HybridSearchRetriever", "filter_of"]

_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


class HybridSearchDocumentStore:
    """An index as a document store.

    :param location: the index's folder, or ``opensearch://host:9200/name``; opened to write at the first use.
    :param model: as for :func:`hybrid_search.open`.
    :param retriever: an open one in place of a location; such a store can't be serialised. The caller closes it.
    """

    def __init__(self, location: str = "", *, model: str | None = None, retriever: Retriever | None = None) -> None:
        self.location = location
        self.model = model
        self._retriever = retriever

    @property
    def retriever(self) -> Retriever:
        """The open index."""
        if self._retriever is None:
            self._retriever = open_index(self.location, model=self.model, writable=True)
        return self._retriever

    def close(self) -> None:
        """Close the index; the next use opens it again."""
        if self._retriever is not None and self.location:
            self._retriever.close()
            self._retriever = None

    def to_dict(self) -> dict[str, Any]:
        """Serialise the store: where its index is.

        :raises DocumentStoreError: if it was made of an open retriever.
        """
        if not self.location:
            raise DocumentStoreError("the store was made of an open retriever; make it of a location to serialise it")
        made: dict[str, Any] = default_to_dict(self, location=self.location, model=self.model)
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a store of what :meth:`to_dict` returned."""
        made: Self = default_from_dict(cls, data)
        return made

    def count_documents(self) -> int:
        """Count the documents."""
        return self.retriever.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that match, by Haystack's own rules; reads every document of the index.

        :raises FilterError: if the filters are invalid.
        """
        found = [_as_theirs(one) for one in self.retriever.documents()]
        return [one for one in found if document_matches_filter(filters, one)] if filters else found

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Add documents, which are found as soon as this returns; without a policy a duplicate is an error.

        :return: how many were written.
        :raises DuplicateDocumentError: if a document is there already, with the policy FAIL or none; none is written.
        :raises DocumentStoreError: if some were refused; it names the reasons, and the others are in.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("documents is no list of haystack.Document")
        by_id = {one.id: one for one in documents}
        if policy != DuplicatePolicy.OVERWRITE:
            held = {one.id for one in self.retriever.get(list(by_id)) if one is not None}
            if policy != DuplicatePolicy.SKIP and (held or len(by_id) < len(documents)):
                raise DuplicateDocumentError(f"there are documents of these ids already: {', '.join(sorted(held)[:5])}")
            by_id = {id: one for id, one in by_id.items() if id not in held}
        self._add(list(by_id.values()))
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(by_id)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents; ids that are not there are ignored."""
        self.retriever.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete every document; the index stays."""
        self.retriever.delete([one.id for one in self.retriever.documents()])

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match; return how many these were."""
        return self.retriever.delete([one.id for one in self.filter_documents(filters)])

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set metadata of the documents that match; return how many these are."""
        found = self.filter_documents(filters)
        self._add([replace(one, meta={**one.meta, **meta}) for one in found])
        return len(found)

    async def count_documents_async(self) -> int:
        """Count the documents."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that match; see :meth:`filter_documents`."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Add documents; see :meth:`write_documents`."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Delete documents; see :meth:`delete_documents`."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """Delete every document; the index stays."""
        await asyncio.to_thread(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match; see :meth:`delete_by_filter`."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set metadata; see :meth:`update_by_filter`."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    def _add(self, documents: list[Document]) -> None:
        rejected = self.retriever.add((_as_ours(one) for one in documents), allow_rejected=True).rejected
        if rejected:
            reasons = "; ".join(one.reason for one in rejected[:5])
            raise DocumentStoreError(f"{len(rejected)} of {len(documents)} documents were refused: {reasons}")


@component
class HybridSearchRetriever:
    """Finds the documents of a store that answer a query.

    :param filters: find only documents that pass these, in Haystack's form; those of :meth:`run` take their place.
    :param top_k: how many documents, unless :meth:`run` says otherwise.
    :param mode: hybrid, bm25 or knn; None for hybrid, or bm25 where the index has no vectors.
    """

    def __init__(
        self,
        document_store: HybridSearchDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        mode: str | None = None,
    ) -> None:
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.mode = mode

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component."""
        store = self.document_store.to_dict()
        made: dict[str, Any] = default_to_dict(
            self, document_store=store, filters=self.filters, top_k=self.top_k, mode=self.mode
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HybridSearchRetriever:
        """Make the component of what :meth:`to_dict` returned."""
        given = data["init_parameters"]
        given["document_store"] = HybridSearchDocumentStore.from_dict(given["document_store"])
        made: HybridSearchRetriever = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Find the ``top_k`` best documents, best first, each with its score.

        :raises FilterError: if the filters are invalid, or name a field that the index does not have.
        """
        retriever = self.document_store.retriever
        chosen: Any = self.mode or modes_of(retriever)[0]
        wanted = filters or self.filters
        try:
            hits = retriever.search(
                query, top_k or self.top_k, mode=chosen, filter=filter_of(wanted) if wanted else None
            )
        except OwnFilterError as error:
            raise FilterError(str(error)) from error
        return {"documents": [replace(_as_theirs(hit), score=hit.score) for hit in hits]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, Any]:
        """Find documents; see :meth:`run`."""
        return await asyncio.to_thread(self.run, query, filters, top_k)


def filter_of(filters: Mapping[str, Any]) -> Filter:
    """Translate Haystack's filters to those of hybrid_search.

    :raises FilterError: if they are invalid.
    """
    if "field" in filters:
        return _comparison(filters)
    try:
        operator, conditions = filters["operator"], tuple(filter_of(one) for one in filters["conditions"])
    except KeyError as missing:
        raise FilterError(f"{missing} is missing in {dict(filters)!r}") from None
    if operator == "OR":
        return Or(conditions)
    if operator in ("AND", "NOT"):
        return And(conditions) if operator == "AND" else Not(And(conditions))
    raise FilterError(f"the operator is {operator!r}; give AND, OR or NOT")


def _comparison(condition: Mapping[str, Any]) -> Filter:
    try:
        name, operator, value = condition["field"].removeprefix("meta."), condition["operator"], condition["value"]
    except KeyError as missing:
        raise FilterError(f"{missing} is missing in {dict(condition)!r}") from None
    if operator in ("==", "!="):
        same: Filter = Not(Exists(name)) if value is None else Term(name, value)
        return same if operator == "==" else Not(same)
    if operator in _BOUNDS and value is not None:
        return Range(name, **{_BOUNDS[operator]: value})
    if operator in ("in", "not in") and isinstance(value, list):
        among = Terms(name, tuple(value))
        return among if operator == "in" else Not(among)
    raise FilterError(f"{name} {operator} {value!r} is no comparison; see Haystack's documentation of filters")


def _as_ours(document: Document) -> OwnDocument:
    meta = {name: tuple(value) if isinstance(value, list) else value for name, value in document.meta.items()}
    return OwnDocument(document.id, document.content or "", metadata=meta)


def _as_theirs(found: OwnDocument | Hit) -> Document:
    meta = {name: list(value) if isinstance(value, tuple) else value for name, value in found.metadata.items()}
    return Document(id=found.id, content=found.text, meta={"title": found.title, **meta} if found.title else meta)
