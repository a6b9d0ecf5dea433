"""Plans: generators that yield requests and are sent the answers, for the blocking and the asyncio client. Pure.

A search is therefore written once for both clients; both use the same rules for retries and pauses.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.tracing import Started, database

__all__ = ["LONGEST_PAUSE", "Plan", "Request", "carried_out", "carried_out_async", "is_repeatable", "pauses", "traced"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    :ivar body: JSON, or lines of JSON with ``in_lines``.
    :ivar parameters: of the URL; ``ignore`` is not sent: an HTTP status that is not an error.
    """

    method: str
    path: str
    body: bytes = b""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    in_lines: bool = False

    @classmethod
    def of_json(cls, method: str, path: str, body: Mapping[str, Any], **parameters: str) -> Request:
        """Return a request with a JSON object as its body."""
        return cls(method, path, msgspec.json.encode(body), parameters)


Plan = Generator[Request, bytes, T]
"""Yields requests, is sent the bodies of their answers, returns a result.

Failed requests are raised by the caller that executes the plan; a plan only sees successful answers.
"""


def carried_out(plan: Plan[T], send: Callable[[Request], bytes]) -> T:
    """Execute a plan, one request after the other.

    :raises SearchIndexError: if the plan can't read an answer.
    """
    try:
        request = next(plan)
        while True:
            request = _told(plan, request, send(request))
    except StopIteration as done:
        result: T = done.value
        return result


async def carried_out_async(plan: Plan[T], send: Callable[[Request], Awaitable[bytes]]) -> T:
    """Execute a plan, awaiting each answer."""
    try:
        request = next(plan)
        while True:
            request = _told(plan, request, await send(request))
    except StopIteration as done:
        result: T = done.value
        return result


def _told(plan: Plan[Any], request: Request, answer: bytes) -> Request:
    """Send an answer to a plan; return its next request."""
    with taken_apart(f"{request.method} {request.path}"):
        return plan.send(answer)


LONGEST_PAUSE = 10.0
"""Seconds between two attempts, at most."""

_FIRST_PAUSE = 0.2

_READING = frozenset(
    {"_analyze", "_count", "_mget", "_msearch", "_rank_eval", "_refresh", "_search", "_validate", "point_in_time"}
)
_CREATING_OR_DROPPING_AN_INDEX = 1


def is_repeatable(method: str, path: str) -> bool:
    """Return whether sending a request twice has the same effect as sending it once.

    A request whose answer is lost may have been executed. Creating an index is not repeatable, as it would then exist
    already; nor is a bulk request, whose sender checks what was stored.
    """
    parts = path.strip("/").split("/")
    match method:
        case "GET" | "HEAD":
            return True
        case "POST":
            return parts[-1] in _READING
        case "PUT" | "DELETE":
            return len(parts) > _CREATING_OR_DROPPING_AN_INDEX
    return False


_OF_AN_INDEX = {"GET": "indices.get", "HEAD": "indices.exists", "PUT": "indices.create", "DELETE": "indices.delete"}


def traced(server: tuple[str, int], method: str, path: str, body: bytes | None) -> Started:
    """Start the span of a request, with all its attempts, to a server's host and port."""
    parts = path.strip("/").split("/")
    index = "" if parts[0].startswith("_") else parts[0]
    named = (part.lstrip("_") for part in parts if part.startswith("_") or part == "pipeline")
    operation = ".".join(named) or _OF_AN_INDEX.get(method, method)
    queries = (body or b"").count(b"\n") // 2 if operation == "msearch" else 1
    return database(operation, index, queries, system="opensearch", server=server)


def pauses(retries: int) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: doubling up to a limit, times a random factor of 0.5 to 1.

    The random factor keeps clients that failed together from returning together.
    """
    pause = _FIRST_PAUSE
    for _ in range(retries):
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)
