"""Routes for whoever looks after the service: health, figures, what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from hybrid_search.location import without_password
from hybrid_search.opening import is_on_server
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.service.core import Service
from hybrid_search.service.metrics import MEDIA_TYPE, Metrics
from hybrid_search.service.problems import Draining
from hybrid_search.service.routes.answers import json_answer
from hybrid_search.service.routes.schema import State, Stats

__all__ = ["watching_routes"]


def _name(location: str) -> str:
    """Return what an index is called; of a folder its name alone, as where it lies is nobody's business."""
    return without_password(location) if is_on_server(location) else Path(location).resolve().name


def watching_routes(service: Service, metrics: Metrics) -> APIRouter:
    """Return the routes of ``/health``, ``/stats`` and ``/metrics``."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/health/live", summary="Is the process there?", responses={200: {"model": State}})
    async def live() -> Response:
        return json_answer({"status": "live"})

    @routes.get("/health/ready", summary="Send requests here?", responses={200: {"model": State}})
    async def ready() -> Response:
        if service.draining or not service.is_open:
            raise Draining("the service is ending, or has not begun; send requests elsewhere")
        return json_answer({"status": "ready"})

    @routes.get("/stats", summary="What is served", responses={200: {"model": Stats}})
    async def stats() -> Response:
        def asked(retriever: Retriever) -> dict[str, Any]:
            settings = retriever.engine.settings
            return {
                "location": _name(service.location),
                "documents": retriever.count(),
                "modes": modes_of(retriever),
                "weight": retriever.fusion.weights[0],
                "window": retriever.fusion.window,
                "fields": settings.fields,
                "fingerprint": settings.fingerprint,
                "dimension": settings.dimension,
                "similarity": settings.similarity,
                "writable": service.options.writable,
                "judges": bool(service.options.judgements),
                "reranks": retriever.rerank is not None,
                "engine": retriever.stats(),
            }

        return json_answer(await service.read(asked))

    @routes.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.shown(), media_type=MEDIA_TYPE)

    return routes
