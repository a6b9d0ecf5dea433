"""Plans: a generator yields the requests to send and is sent their answers, for blocking and asyncio alike. Pure.

So a search is written once and runs over the blocking client and over the one for ``asyncio``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from hybrid_search.engines.opensearch.transport.failures import taken_apart

__all__ = ["Plan", "Request", "carried_out", "carried_out_async"]

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
