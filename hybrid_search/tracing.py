"""OpenTelemetry spans of searches, of requests to a server and of the HTTP service (extra ``telemetry``).

Spans are recorded where the application has set up a tracer provider, or runs under ``opentelemetry-instrument``; both
import ``opentelemetry.trace``. This module never does so first: until somebody else has, a span costs a look into
``sys.modules``. Names and attributes follow the stable database and HTTP conventions, and the GenAI conventions of
``retrieval`` and ``embeddings``. Texts of queries and documents, filters and messages of errors are in no attribute;
the variable :data:`CAPTURE` adds the text of a query.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from hybrid_search.protocols import Encoder
    from hybrid_search.second_stage import SecondStage

__all__ = ["CAPTURE", "answered", "database", "embeddings", "handed_on", "request", "reranking", "retrieval"]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own variable that asks for contents: ``true``, ``span_only`` or ``span_and_event``."""

_ASKED = ("true", "span_only", "span_and_event")
_NAME = "hybrid_search"
_SERVER_FAULT = 500
_Kind = Literal["INTERNAL", "CLIENT", "SERVER"]

Started = AbstractContextManager["Span | None"]
"""Runs a block inside a span; gives None where nobody records any."""

_IDLE: Started = nullcontext()
_known: tuple[Any, Tracer] | None = None


def retrieval(texts: Sequence[str], k: int, mode: str) -> Started:
    """Start the span of a whole search, by the GenAI conventions."""
    if (tracer := _tracer()) is None:
        return _IDLE
    attributes = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.top_k": k,
        "hybrid_search.mode": mode,
        "hybrid_search.queries": len(texts),
    }
    if len(texts) == 1 and os.environ.get(CAPTURE, "").lower() in _ASKED:
        attributes["gen_ai.retrieval.query.text"] = texts[0]
    return _span(tracer, "retrieval", attributes)


def embeddings(encoder: Encoder, texts: int) -> Started:
    """Start the span of encoding so many texts; the model's name is the begin of its fingerprint."""
    if (tracer := _tracer()) is None:
        return _IDLE
    model = encoder.fingerprint[:12]
    attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": _NAME,
        "gen_ai.request.model": model,
        "gen_ai.embeddings.dimension.count": encoder.dimension,
        "hybrid_search.texts": texts,
    }
    return _span(tracer, f"embeddings {model}", attributes)


def reranking(stage: SecondStage, hits: Sequence[Sequence[object]]) -> Started:
    """Start the span of a second stage over the first hits of some queries; no convention has one yet."""
    if (tracer := _tracer()) is None:
        return _IDLE
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "rerank",
        "hybrid_search.queries": len(hits),
        "hybrid_search.hits": sum(map(len, hits)),
    }
    if stage.rerank is not None:
        attributes["hybrid_search.reranker"] = getattr(stage.rerank, "__qualname__", type(stage.rerank).__qualname__)
    if stage.diversity is not None:
        attributes["hybrid_search.diversity"] = float(stage.diversity)
    return _span(tracer, "rerank", attributes)


def database(
    operation: str, collection: str, items: int = 1, *, system: str = _NAME, server: tuple[str, int] | None = None
) -> Started:
    """Start the span of one operation on an index, by the database conventions.

    :param items: queries or documents of a batch.
    :param server: host and port, for a request to one.
    """
    if (tracer := _tracer()) is None:
        return _IDLE
    attributes: dict[str, Any] = {"db.system.name": system, "db.operation.name": operation}
    if collection:
        attributes["db.collection.name"] = collection
    if items > 1:  # as the conventions want it: one alone is no batch
        attributes["db.operation.batch.size"] = items
    if server:
        attributes["server.address"], attributes["server.port"] = server
    return _span(tracer, f"{operation} {collection}".rstrip(), attributes, "CLIENT" if server else "INTERNAL")


def request(method: str, path: str, scheme: str, headers: Mapping[bytes, bytes]) -> Started:
    """Start the span of a request to the service, under the span that the headers name.

    Where an instrumentation of the framework has started one already, that is the span of the request.
    """
    if (tracer := _tracer()) is None or _current().is_valid:
        return _IDLE
    from opentelemetry.propagate import extract

    around = extract({name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()})
    attributes = {"http.request.method": method, "url.path": path, "url.scheme": scheme}
    return _span(tracer, method, attributes, "SERVER", around)


def answered(span: Span | None, method: str, route: str, status: int) -> None:
    """Add to a request's span what is known at its end.

    :param route: the path as declared; empty for none.
    """
    if span is None:
        return
    span.set_attribute("http.response.status_code", status)
    if route:
        span.set_attribute("http.route", route)
        span.update_name(f"{method} {route}")
    if status >= _SERVER_FAULT:
        _failed(span, str(status))


def handed_on(headers: MutableMapping[str, str]) -> None:
    """Add the headers that put the receiver's spans under the current one."""
    if _tracer() is not None:
        from opentelemetry.propagate import inject

        inject(headers)


@contextmanager
def _span(
    tracer: Tracer, name: str, attributes: Mapping[str, Any], kind: _Kind = "INTERNAL", around: Any = None
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    started = tracer.start_as_current_span(
        name, around, SpanKind[kind], attributes, record_exception=False, set_status_on_exception=False
    )
    with started as span:
        try:
            yield span
        except Exception as error:
            # Neither the message nor the traceback: both may quote what somebody searched for.
            if status := getattr(error, "status", 0):
                span.set_attribute("db.response.status_code", str(status))
            _failed(span, type(error).__qualname__)
            raise


def _failed(span: Span, kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _current() -> Any:
    from opentelemetry.trace import get_current_span

    return get_current_span().get_span_context()


def _tracer() -> Tracer | None:
    """Return the application's tracer; None if it has set up no provider."""
    global _known
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_tracer_provider"):  # just being imported by another thread
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    known = _known
    if known is None or known[0] is not provider:
        _known = known = provider, provider.get_tracer(_NAME)
    return known[1]
