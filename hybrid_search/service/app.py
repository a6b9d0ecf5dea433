"""The ASGI application: routes, the gate before them, and errors as problem details."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response

from hybrid_search.service.core import Service
from hybrid_search.service.faults import fault_of
from hybrid_search.service.forwarding import Forwarding
from hybrid_search.service.gate import Gate, request_id_of
from hybrid_search.service.metrics import Metrics
from hybrid_search.service.problems import (
    MEDIA_TYPE,
    Problem,
    invalid,
    is_json,
    not_json,
    of_status,
    problem_of,
    unexpected,
)
from hybrid_search.service.reference import reference_page
from hybrid_search.service.routes.documents import document_routes
from hybrid_search.service.routes.page import page_routes
from hybrid_search.service.routes.schema import ProblemShown
from hybrid_search.service.routes.searching import ShortWay, search_routes
from hybrid_search.service.routes.towers import tower_routes
from hybrid_search.service.routes.watching import watching_routes

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # of FastAPI 0.142 or later

__all__ = ["application"]

_WORTH_ZIPPING = 1_024
_BATCHES = {"BatchRequest": "queries", "EmbedRequest": "texts", "TextsToEncode": "texts", "AddRequest": "documents"}
"""Body -> the field that ``max_batch`` limits."""
_TELEMETRY: TelemetryConfig = {"tracing": False, "logs": False}
"""The framework's own hold query strings and messages of errors; :class:`Gate` starts the span of a request."""
_ABOUT = """Hybrid search over one index: BM25 and vectors, fused.

Errors are problem details (RFC 9457); `type` names the error's class, `detail` says what is wrong and what to do.
With API keys, send `Authorization: Bearer KEY`. `X-Request-ID` comes back, and is in the log."""


def application(service: Service, *, forward_to: str = "") -> FastAPI:
    """Return the application of a service; it opens the index when it starts, and closes it when it ends.

    :param forward_to: the path of the socket of the process that makes changes, if it is another one.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.open)
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="hybrid_search", description=_ABOUT, version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
        telemetry=_TELEMETRY,
        responses={"default": {"model": ProblemShown, "description": "A problem, " + MEDIA_TYPE}},
    )  # fmt: skip
    app.state.service = service
    searching, watching = search_routes(service, metrics), watching_routes(service, metrics)
    for routes in (searching, document_routes(service), tower_routes(service), watching, page_routes(service)):
        app.include_router(routes)
    app.add_api_route("/docs", _docs(app), include_in_schema=False, response_class=Response)
    _answer_errors(app)
    app.openapi = _described(app.openapi, service)  # type: ignore[method-assign]
    app.add_middleware(ShortWay, routes=searching)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_ZIPPING, compresslevel=5)
    if forward_to:
        app.add_middleware(Forwarding, place=forward_to)
    app.add_middleware(Gate, service=service, metrics=metrics)
    if service.options.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(service.options.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"], expose_headers=["X-Request-ID"],
        )  # fmt: skip
    return app


def _docs(app: FastAPI) -> Callable[[], Response]:
    def docs() -> Response:
        return Response(reference_page(app.openapi()), media_type="text/html")

    return docs


def _answer_errors(app: FastAPI) -> None:
    async def of_schema(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        kind = request.headers.get("content-type", "")
        if error.body and not is_json(kind):  # whatever the body is, it was not read as JSON
            return _answer(problem_of(not_json(_fit(kind)), request_id_of(request.scope)))
        # Not the input itself, which may be of any size and may have no form in UTF-8.
        errors = tuple({"field": _place(one), "reason": _fit(fault_of(one))} for one in error.errors()[:20])
        return _answer(invalid(errors, request_id_of(request.scope)))

    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = of_status(error.status_code, _fit(str(error.detail)), request_id_of(request.scope))
        return _answer(problem, error.headers)

    async def unforeseen(request: Request, error: Exception) -> Response:
        return _answer(unexpected(request_id_of(request.scope)))

    app.add_exception_handler(RequestValidationError, of_schema)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(Exception, unforeseen)


def _answer(problem: Problem, more: Mapping[str, str] | None = None) -> Response:
    return Response(problem.body(), problem.status, {**(more or {}), **problem.headers()})


def _place(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":  # its place is a character, which the reason tells
        return "body"
    return _fit(".".join(str(part) for part in error["loc"] if part != "body") or "body")


def _fit(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:300]


def _described(openapi: Callable[[], dict[str, Any]], service: Service) -> Callable[[], dict[str, Any]]:
    """Return the description with this service's own limits, and problems under their media type."""
    options = service.options

    def described() -> dict[str, Any]:
        described = openapi()
        if "x-limits" in described:
            return described
        schemas = described["components"]["schemas"]
        for name in ("SearchRequest", "BatchRequest"):
            schemas[name]["properties"]["k"]["maximum"] = options.max_k
        schemas["SearchRequest"]["properties"]["query"]["maxLength"] = options.max_query
        schemas["BatchRequest"]["properties"]["queries"]["items"]["maxLength"] = options.max_query
        for name, field in _BATCHES.items():
            schemas[name]["properties"][field]["maxItems"] = options.max_batch
        for operations in described["paths"].values():
            for operation in operations.values():
                content = operation["responses"]["default"]["content"]
                content[MEDIA_TYPE] = content.pop("application/json", content.get(MEDIA_TYPE))
                operation["responses"].pop("422", None)  # the framework's own form of it, which is not sent
        described["x-limits"] = {"max_body": options.max_body, "time_limit": options.time_limit}
        return described

    return described
