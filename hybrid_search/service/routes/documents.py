"""Routes that fetch, add and delete documents."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from hybrid_search.errors import UsageError
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.core import Service
from hybrid_search.service.problems import ReadOnly, Unknown
from hybrid_search.service.routes.answers import json_answer, shown_document
from hybrid_search.service.routes.schema import Added, AddRequest, Deleted, Documents, DocumentShown, NewDocument
from hybrid_search.types import Document, MetadataValue, Rejection

__all__ = ["document_routes"]

Ids = Annotated[list[str], Query(alias="id", min_length=1, description="Once for each document.")]


def document_routes(service: Service) -> APIRouter:
    """Return the routes of ``/documents``."""
    routes = APIRouter(tags=["documents"])

    @routes.get("/documents", summary="Fetch several documents", responses={200: {"model": Documents}})
    async def get_several(ids: Ids) -> Response:
        _check_number(service, len(ids), "ids")
        found = await service.read(lambda retriever: retriever.get(ids))
        return json_answer({"documents": [None if one is None else shown_document(one) for one in found]})

    @routes.get("/documents/{id:path}", summary="Fetch a document", responses={200: {"model": DocumentShown}})
    async def get(id: str) -> Response:
        [found] = await service.read(lambda retriever: retriever.get([id]))
        if found is None:
            raise Unknown(f"there is no document {id!r}")
        return json_answer(shown_document(found))

    @routes.post("/documents", summary="Add or replace documents", responses={200: {"model": Added}})
    async def add(asked: AddRequest) -> Response:
        _check_writable(service)
        _check_number(service, len(asked.documents), "documents")
        documents = [_document(one) for one in asked.documents]

        def added(retriever: Retriever) -> dict[str, Any]:
            report = retriever.add(documents, allow_rejected=True)
            return {"added": report.added, "rejected": [_refused(one) for one in report.rejected]}

        return json_answer(await service.write(added))

    @routes.delete("/documents", summary="Delete several documents", responses={200: {"model": Deleted}})
    async def delete_several(ids: Ids) -> Response:
        _check_writable(service)
        _check_number(service, len(ids), "ids")
        return json_answer({"deleted": await service.write(lambda retriever: retriever.delete(ids))})

    @routes.delete("/documents/{id:path}", summary="Delete a document", responses={200: {"model": Deleted}})
    async def delete(id: str) -> Response:
        _check_writable(service)
        deleted = await service.write(lambda retriever: retriever.delete([id]))
        if not deleted:
            raise Unknown(f"there is no document {id!r}")
        return json_answer({"deleted": deleted})

    return routes


def _check_writable(service: Service) -> None:
    if not service.options.writable:
        raise ReadOnly("this service changes no documents; start it with --writable where it should")


def _check_number(service: Service, given: int, what: str) -> None:
    most = service.options.max_batch
    if given > most:
        raise UsageError(f"{given} {what}; this service takes at most {most} in one request")


def _document(asked: NewDocument) -> Document:
    metadata: dict[str, MetadataValue] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in asked.metadata.items()
    }
    return Document(asked.id, asked.text, asked.title, metadata)


def _refused(rejection: Rejection) -> dict[str, str]:
    record = json.loads(rejection.record)  # msgspec takes no lone surrogates, a reason for being here
    return {"id": str(record["id"]), "field": rejection.field, "reason": rejection.reason}
