"""Routes that search and encode, and a short way to the one that is asked most."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.protocols import Encoder
from hybrid_search.retrieval.open_index import encoded
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.search import MatchArguments, Mode
from hybrid_search.service.core import Service
from hybrid_search.service.gate import Application, Receive, Scope, Send, path_of, replayed
from hybrid_search.service.metrics import Metrics
from hybrid_search.service.routes.answers import json_answer, shown_hit
from hybrid_search.service.routes.schema import BatchAnswer, BatchRequest, EmbedAnswer, EmbedRequest, SearchAnswer
from hybrid_search.service.routes.schema import SearchRequest as Asked
from hybrid_search.settings.index import Fusion, Similarity
from hybrid_search.settings.service import ServiceOptions
from hybrid_search.types import Hit, Matches

__all__ = ["ShortWay", "check_number", "current_towers", "encoded_by", "search_routes"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found, and how."""

    hits: list[list[Hit]]
    mode: Mode
    weight: float | None
    offset: int
    similarity: Similarity
    seconds: float
    reranked: bool
    matches: Matches | None = None


def search_routes(service: Service, metrics: Metrics) -> APIRouter:
    """Return the routes of ``/search`` and ``/embed``."""
    routes = APIRouter(tags=["search"])
    options = service.options

    @routes.post("/search", summary="Answer a query", responses={200: {"model": SearchAnswer}})
    async def search(asked: Asked) -> Response:
        found = await service.read(_searching([asked.query], asked, options))
        metrics.searched(found.mode, found.seconds)
        [hits] = found.hits
        counts = found.matches.shown() if found.matches is not None else {}
        shown = _shown(hits, found, asked.explain)
        return json_answer({"query": asked.query, **_common(found), **counts, "hits": shown})

    @routes.post("/search/batch", summary="Answer several queries", responses={200: {"model": BatchAnswer}})
    async def batch(asked: BatchRequest) -> Response:
        found = await service.read(_searching(asked.queries, asked, options))
        metrics.searched(found.mode, found.seconds)
        return json_answer({**_common(found), "results": [_shown(hits, found, asked.explain) for hits in found.hits]})

    @routes.post("/embed", summary="Encode texts", responses={200: {"model": EmbedAnswer}})
    async def embed(asked: EmbedRequest) -> Response:
        check_number(len(asked.texts), "texts", options)

        def encoded(retriever: Retriever) -> dict[str, Any]:
            towers = current_towers(retriever)
            vectors = encoded_by(towers, asked.tower, asked.texts)
            return {"fingerprint": towers.fingerprint, "dimension": towers.dimension, "vectors": vectors}

        return json_answer(await service.read(encoded))

    return routes


class ShortWay:
    """ASGI middleware: answers a valid ``POST /search`` without the framework, whose own way to it takes longer.

    Whatever is not plainly valid goes on to the framework, which says what is wrong with it.
    """

    def __init__(self, app: Application, routes: APIRouter) -> None:
        self._app = app
        self._route = next(one for one in routes.routes if isinstance(one, APIRoute) and one.path == "/search")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a search, or let the framework do so."""
        if scope["type"] != "http" or scope["method"] != "POST" or path_of(scope) != self._route.path:
            await self._app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")  # the whole of it, from the gate
        if (asked := _valid(scope, body)) is None:
            await self._app(scope, replayed(body, receive), send)
            return
        scope["route"] = self._route  # for the figures and the trace
        answer: Response = await self._route.endpoint(asked)
        await answer(scope, receive, send)


def _valid(scope: Scope, body: bytes) -> Asked | None:
    kind: bytes = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        return None
    try:
        return Asked.model_validate(json.loads(body))
    except (ValueError, ValidationError, RecursionError):
        return None


def current_towers(retriever: Retriever) -> Encoder:
    """Return the towers of the index that an alias stands for now, of which a request should take no others."""
    retriever.source.look()
    return retriever.source.current.towers()


def encoded_by(towers: Encoder, tower: str, texts: Sequence[str]) -> list[list[float]]:
    """Encode texts with the tower of queries or that of documents."""
    vectors: list[list[float]] = encoded(towers, tower, texts).tolist()
    return vectors


def _searching(
    queries: Sequence[str], asked: Asked | BatchRequest, options: ServiceOptions
) -> Callable[[Retriever], _Found]:
    """Check a request against the limits; return the search that it asks for."""
    check_number(len(queries), "queries", options)
    if any(len(query) > options.max_query for query in queries):
        longest = max(map(len, queries))
        raise UsageError(f"a query has {longest} characters; this service takes at most {options.max_query}")
    if asked.k > options.max_k:
        raise UsageError(f"k is {asked.k}; this service gives at most {options.max_k} hits")
    offset = _offset(asked)

    def found(retriever: Retriever) -> _Found:
        began = time.perf_counter()
        mode = asked.mode or modes_of(retriever)[0]
        fusion = _fusion(retriever.fusion, asked.weight, mode)
        meant: MatchArguments = {
            "filter": asked.filter, "offset": offset, "fusion": fusion, "group": asked.group,
            "min_score": asked.min_score, "min_bm25": asked.min_bm25, "min_knn": asked.min_knn,
        }  # fmt: skip
        if asked.rerank and retriever.rerank is None:
            raise UsageError("rerank is true, and this service has no reranker; leave it out")
        hits = retriever.search_many(
            queries,
            asked.k,
            mode=mode,
            highlight=asked.highlight,
            rerank=asked.rerank,
            diversity=asked.diversity,
            **meant,
        )
        matches = None
        if isinstance(asked, Asked) and (asked.total or asked.facets):
            matches = retriever.matches(asked.query, asked.k, facets=asked.facets, mode=mode, **meant)
        weight = fusion.weights[0] if fusion is not None else None
        similarity = retriever.engine.settings.similarity
        reranked = retriever.rerank is not None and asked.rerank is not False
        return _Found(hits, mode, weight, offset, similarity, time.perf_counter() - began, reranked, matches)

    return found


def _offset(asked: Asked | BatchRequest) -> int:
    if asked.page is not None and asked.offset is not None:
        raise UsageError(f"page is {asked.page} and offset {asked.offset}; give one of them")
    return (asked.page - 1) * asked.k if asked.page is not None else asked.offset or 0


def _fusion(base: Fusion, weight: float | None, mode: Mode) -> Fusion | None:
    if mode != "hybrid":
        if weight is not None:
            raise ConfigError(f"weight is {weight} with mode {mode}; it is for mode hybrid, so leave it out")
        return None
    return base if weight is None else base.replace(weights=(weight, round(1 - weight, 12)))


def check_number(given: int, what: str, options: ServiceOptions) -> None:
    """Check how many of something one request has.

    :raises UsageError: if these are more than the service takes.
    """
    if given > options.max_batch:
        raise UsageError(f"{given} {what}; this service takes at most {options.max_batch} in one request")


def _common(found: _Found) -> dict[str, Any]:
    return {
        "mode": found.mode,
        "weight": found.weight,
        "offset": found.offset,
        "reranked": found.reranked,
        "took_ms": round(found.seconds * 1_000, 3),
    }


def _shown(hits: Sequence[Hit], found: _Found, explain: bool) -> list[dict[str, Any]]:
    return [shown_hit(hit, found.similarity, mode=found.mode, explain=explain) for hit in hits]
