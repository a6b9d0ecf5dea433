"""The page at ``/``, and what only it asks for: a document's neighbours, and judgements."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from hybrid_search.errors import UsageError
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.core import Service
from hybrid_search.service.problems import NoJudgements, Unknown
from hybrid_search.service.routes.answers import json_answer, shown_hit
from hybrid_search.service.routes.judgements import Judgements
from hybrid_search.service.routes.schema import Judging, Neighbours, NeighboursRequest, Noted
from hybrid_search.types import id_fault

__all__ = ["page_routes"]

_TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def page_routes(service: Service) -> APIRouter:
    """Return the routes of the page, and of ``/neighbours`` and ``/judgements``."""
    routes = APIRouter(tags=["page"])
    contents = {name: files("hybrid_search.service").joinpath("static", name).read_bytes() for name in _TYPES}
    judgements = Judgements(Path(service.options.judgements)) if service.options.judgements else None

    def sent(name: str) -> Response:
        if name not in contents:
            raise Unknown(f"there is no {name!r}")
        return Response(contents[name], media_type=_TYPES[name], headers=_HEADERS)

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        return sent("index.html")

    @routes.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return sent(name)

    @routes.post("/neighbours", summary="Find what is like a document", responses={200: {"model": Neighbours}})
    async def neighbours(asked: NeighboursRequest) -> Response:
        return json_answer({"hits": await service.read(lambda retriever: _neighbours(retriever, asked))})

    @routes.post("/judgements", summary="Note how relevant a hit is", responses={200: {"model": Noted}})
    async def judge(asked: Judging) -> Response:
        if judgements is None:
            raise NoJudgements("this service notes no judgements; `hybrid-search serve --judgements FOLDER` does")
        query = _judged(asked, service.options.max_query)

        def noted(retriever: Retriever) -> None:
            if retriever.get([asked.document_id]) == [None]:
                raise Unknown(f"there is no document {asked.document_id!r} to judge")
            judgements.note(query, asked.document_id, asked.grade)

        await service.write(noted)
        return json_answer({"noted": True})

    return routes


def _neighbours(retriever: Retriever, asked: NeighboursRequest) -> list[dict[str, Any]]:
    hits = retriever.neighbours(asked.id, asked.k)
    if hits is None:
        raise Unknown(f"there is no document {asked.id!r}")
    similarity = retriever.engine.settings.similarity
    return [shown_hit(hit, similarity, mode="knn", explain=False) for hit in hits]


def _judged(asked: Judging, longest: int) -> str:
    """Return the query that was judged, fit for a file."""
    if not asked.query.strip() or len(asked.query) > longest:
        raise UsageError(f"the query is blank, or has more than {longest} characters")
    if fault := id_fault(asked.document_id):
        raise UsageError(f"document_id can be no document's: {fault}")
    return asked.query
