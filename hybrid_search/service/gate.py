"""The gate that every request passes before the application: identity, size, time, number; and what the log says."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from hybrid_search.errors import HybridSearchError, RerankingFailed
from hybrid_search.service.core import Service
from hybrid_search.service.keys import Right
from hybrid_search.service.metrics import Metrics
from hybrid_search.service.problems import Busy, Problem, TooLarge, TooSlow, problem_of, unexpected
from hybrid_search.tracing import answered, request

__all__ = ["Application", "Gate", "Receive", "Scope", "Send", "path_of", "replayed", "request_id_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG = logging.getLogger("hybrid_search.service.requests")
_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)
_OPEN = ("/health/live", "/health/ready")
"""Paths that need no key: whoever asks for them decides whether to send requests here."""
_PAGE = ("/", "/page/page.css", "/page/page.js")
"""What the page is made of needs none either: it is where somebody types a key in."""
_READING = ("/search", "/search/batch", "/embed", "/neighbours")
"""Paths that are posted to without changing anything."""
_UNCOUNTED = (*_OPEN, "/metrics", "/stats")
"""Paths that are answered however many requests there are."""
_BODIES_AT_ONCE = 32
"""So many bodies of the largest size may lie in memory at once."""


class _Gone(Exception):
    """The client went away while it sent its request."""


@dataclass(slots=True)
class _Visit:
    """One request on its way through."""

    id: str
    method: str
    path: str
    headers: dict[bytes, bytes]
    key: str = ""
    status: int = 0
    began: float = field(default_factory=time.perf_counter)
    counted: bool = False


class Gate:
    """ASGI middleware around the application.

    :ivar working: requests that are at work or wait for a thread.
    """

    def __init__(self, app: Application, service: Service, metrics: Metrics) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._bytes = 0
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _visit(scope)
        # Routes are declared for GET; HEAD is the same without the body.
        scope = {**scope, "request_id": visit.id, "method": "GET" if visit.method == "HEAD" else visit.method}
        traced = (
            nullcontext()
            if visit.path in _UNCOUNTED
            else request(scope["method"], visit.path, scope["scheme"], visit.headers)
        )
        with traced as span:
            await self._visited(visit, scope, receive, send)
            answered(span, visit.method, _route(scope), visit.status)

    async def _visited(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._leave(visit)
                visit.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", visit.id.encode())]
                if self._service.draining:
                    message["headers"].append((b"connection", b"close"))
            elif visit.method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._through(visit, scope, receive, sent)
        except _Gone:
            visit.status = visit.status or 499
        except RerankingFailed as error:  # what a reranker says may be for the operator alone
            _LOG.error("the reranker failed", exc_info=error, extra={"request_id": visit.id})
            told = RerankingFailed("the reranker failed; the service's log has why, under the request's id")
            await _answer(problem_of(told, visit.id), sent)
        except HybridSearchError as error:
            await _answer(problem_of(error, visit.id), sent)
        except Exception as error:
            _LOG.error("an unexpected error", exc_info=error, extra={"request_id": visit.id})
            if not visit.status:
                await _answer(unexpected(visit.id), sent)
        finally:
            self._leave(visit)
            self._note(visit, scope)

    async def _through(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        if visit.path not in (*_OPEN, *_PAGE):
            visit.key = self._service.keys.name_of(_text(visit.headers, b"authorization"), _right(visit))
        body = await self._body(visit, receive)
        try:
            if visit.path not in _UNCOUNTED:
                self._enter(visit)
            await self._app(scope, replayed(body, receive), send)
        finally:
            self._bytes -= len(body)

    async def _body(self, visit: _Visit, receive: Receive) -> bytes:
        """Read the whole body; slow clients wait here, and keep nobody else from being served."""
        limit = self._service.options.max_body
        length = _text(visit.headers, b"content-length")
        if not length and b"transfer-encoding" not in visit.headers:
            return b""
        if length.isdecimal() and int(length[:20]) > limit:
            raise TooLarge(f"the body has {length[:20]} bytes; at most {limit} are taken")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._service.options.time_limit):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise TooLarge(f"the body has more than {limit} bytes")
                    if self._bytes + len(part) > limit * _BODIES_AT_ONCE:
                        raise Busy("too many large requests arrive at once; send this one again later")
                    self._bytes += len(part)
                    parts.append(part)
                    more = message.get("more_body", False)
        except BaseException as error:
            self._bytes -= sum(map(len, parts))
            if isinstance(error, TimeoutError):
                limit_s = self._service.options.time_limit
                raise TooSlow(f"the request did not arrive within {limit_s:g} s; send it again") from None
            raise
        return b"".join(parts)

    def _enter(self, visit: _Visit) -> None:
        most = self._service.options.concurrency
        if self.working >= most:
            raise Busy(f"{most} requests are being answered, which is as many as are taken; send this one again later")
        self.working += 1
        visit.counted = True

    def _leave(self, visit: _Visit) -> None:
        """Give the place back: when an answer begins, as a client may take its time to read it."""
        if visit.counted:
            visit.counted = False
            self.working -= 1

    def _note(self, visit: _Visit, scope: Scope) -> None:
        seconds = time.perf_counter() - visit.began
        self._metrics.count(visit.method, _route(scope) or "unknown", visit.status, seconds)
        if _LOG.isEnabledFor(logging.INFO):
            facts = {
                "request_id": visit.id, "method": visit.method, "path": visit.path, "status": visit.status,
                "ms": round(seconds * 1_000, 2), "key": visit.key, "client": (scope.get("client") or ("",))[0],
            }  # fmt: skip
            _LOG.info("request", extra={"facts": facts})


def request_id_of(scope: Scope) -> str:
    """Return the id that the gate gave a request."""
    return str(scope.get("request_id", ""))


def path_of(scope: Scope) -> str:
    """Return a request's path in this application; mounted in another one, the scope's has that one's in front."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _visit(scope: Scope) -> _Visit:
    headers = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"")
    id = given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex
    return _Visit(id, scope["method"], path_of(scope), headers)


def _route(scope: Scope) -> str:
    """Return the path of a request as it is declared, which the application notes; empty for none."""
    return getattr(scope.get("route"), "path", "")


def _right(visit: _Visit) -> Right:
    """Return the right that a request needs; whatever is not known to read alone needs that to write."""
    reads = visit.method in ("GET", "HEAD", "OPTIONS") or visit.path in _READING or visit.path.startswith("/towers/")
    return "search" if reads else "write"


def _text(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(problem: Problem, send: Send) -> None:
    body = problem.body()
    headers = [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
