"""Plans: a generator yields the requests to send and is sent their answers, for blocking and asyncio alike. Pure.

So a search is written once and runs over the blocking client and over the one for ``asyncio``; when a request is sent
again, and after which pause, is the same for both.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from hybrid_search.engines.opensearch.transport.failures import taken_apart

__all__ = ["LONGEST_PAUSE", "Plan", "Request", "carried_out", "carried_out_async", "is_repeatable", "pauses"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    :ivar body: JSON, or lines of JSON with ``in_lines``.
    :ivar parameters: of the URL; ``ignore`` is not sent, and is an HTTP status that is no error.
    """

    method: str
    path: str
    body: bytes = b""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    in_lines: bool = False

    @classmethod
    def of_json(cls, method: str, path: str, body: Mapping[str, Any], **parameters: str) -> Request:
        """Make a request with one JSON object."""
        return cls(method, path, msgspec.json.encode(body), parameters)


Plan = Generator[Request, bytes, T]
"""Yields what to send, is sent the body of the answer, returns what was found out.

What goes wrong on the way is raised by whoever carries the plan out; a plan sees successful answers only.
"""


def carried_out(plan: Plan[T], send: Callable[[Request], bytes]) -> T:
    """Carry a plan out, one request after the other.

    :raises SearchIndexError: if an answer is not what the plan can read.
    """
    try:
        request = next(plan)
        while True:
            request = _told(plan, request, send(request))
    except StopIteration as done:
        result: T = done.value
        return result


async def carried_out_async(plan: Plan[T], send: Callable[[Request], Awaitable[bytes]]) -> T:
    """Carry a plan out, waiting for each answer in the event loop."""
    try:
        request = next(plan)
        while True:
            request = _told(plan, request, await send(request))
    except StopIteration as done:
        result: T = done.value
        return result


def _told(plan: Plan[Any], request: Request, answer: bytes) -> Request:
    """Hand a plan an answer; returns what it asks next."""
    with taken_apart(f"{request.method} {request.path}"):
        return plan.send(answer)


LONGEST_PAUSE = 10.0
"""Seconds."""

_FIRST_PAUSE = 0.2

_READING = frozenset(
    {"_analyze", "_count", "_mget", "_msearch", "_rank_eval", "_refresh", "_search", "_validate", "point_in_time"}
)
_CREATING_OR_DROPPING_AN_INDEX = 1


def is_repeatable(method: str, path: str) -> bool:
    """Return whether sending a request twice does what sending it once does.

    A request whose answer is lost may have been carried out. Making an index is not repeatable, since the second time
    it would be there already; neither is a bulk request, whose sender sorts out what went in.
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


def pauses(retries: int) -> Iterator[float]:
    """Yield the seconds to wait before each further try: doubling, up to a limit, and each by chance a half to whole.

    The chance keeps many clients that failed together from coming back together.
    """
    pause = _FIRST_PAUSE
    for _ in range(retries):
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)
