"""When a request is sent again, and after which pause. Pure; the same for both kinds of client."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["LONGEST_PAUSE", "is_repeatable", "pauses"]

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
