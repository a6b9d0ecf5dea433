"""What makes an index fast after a large load: fewer segments, graphs in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.failures import failure
from hybrid_search.errors import SearchIndexError

__all__ = ["force_merge", "warm_up"]

_FIRST_LOOK = 0.1
_SECONDS_BETWEEN_LOOKS = 5.0
_WARM_UP_PATIENCE = 3_600


def force_merge(client: Client, index: str, segments: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Merge each shard's segments until there are at most so many; returns when it is done, which may take hours.

    :raises SearchIndexError: if the server can't, or a shard did not.
    """
    answer = client.call(
        "POST", f"/{index}/_forcemerge", max_num_segments=str(segments), wait_for_completion="false"
    )  # fmt: skip
    pause = _FIRST_LOOK
    while not (task := client.call("GET", f"/_tasks/{answer['task']}"))["completed"]:
        sleep(pause)
        pause = min(2 * pause, _SECONDS_BETWEEN_LOOKS)
    if "error" in task:
        raise failure(500, task, index)
    _check(task.get("response", {}), index, "merging")


def warm_up(client: Client, index: str) -> None:
    """Load the graphs into memory, so that the first searches need not.

    :raises SearchIndexError: if the server can't, or a shard did not.
    """
    answer = client.call("GET", f"/_plugins/_knn/warmup/{index}", request_timeout=_WARM_UP_PATIENCE)
    _check(answer, index, "warming up")


def _check(answer: dict[str, Any], index: str, what: str) -> None:
    failed = answer.get("_shards", {}).get("failed", 0)
    if failed:
        raise SearchIndexError(f"{index}: {what} failed on {failed} shards; look at the server's log")
