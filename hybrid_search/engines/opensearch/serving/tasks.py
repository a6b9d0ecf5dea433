"""Waiting for what ml-commons does in the background."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.failures import shortened
from hybrid_search.errors import SearchIndexError

__all__ = ["PATIENCE", "await_task", "explained"]

PATIENCE = 300.0
"""Seconds that a task may take."""

_PAUSE = 0.2
_UNDER_WAY = frozenset({"CREATED", "RUNNING"})

# What ml-commons says -> what mends it; the first that fits.
_ADVICE = (
    (
        "memory circuit breaker",
        "ml-commons takes no model while memory is short: free some, deploy on nodes of their own (role ml), or raise "
        "plugins.ml_commons.jvm_heap_memory_threshold (of the heap) or native_memory_threshold (of the machine's "
        "memory, where the version looks at it), in per cent; 100 switches that check off",
    ),
    (
        "disk circuit breaker",
        "ml-commons wants free disk space: free some, or lower plugins.ml_commons.disk_free_space_threshold",
    ),
    ("model content changed", "the bytes that arrived are not those that were announced (SHA-256): deploy again"),
    ("no eligible node", "no node may run models: start one with the role ml, or deploy with --allow-settings"),
    (
        "exceed max (local )?model|maximum number of models",
        "each node runs plugins.ml_commons.max_model_on_node models: undeploy others, or raise it",
    ),
    (
        "publish.djl.ai|pytorch",
        "the node can't load PyTorch's libraries: give it the network, or PYTORCH_LIBRARY_PATH",
    ),
)


def await_task(client: Client, task: str, what: str, *, patience: float = PATIENCE) -> None:
    """Wait until a task has ended well.

    :param what: what it does, for the message.
    :param patience: seconds.
    :raises SearchIndexError: if it failed, or takes longer.
    """
    until = time.monotonic() + patience
    while (state := _state(told := client.call("GET", f"/_plugins/_ml/tasks/{task}"))) in _UNDER_WAY:
        if time.monotonic() > until:
            raise SearchIndexError(
                f"{what} was not done within {patience:.0f} s (task {task}, {state.lower()}); look at the server's "
                f"load and at GET /_plugins/_ml/tasks/{task}, and deploy again"
            )
        time.sleep(_PAUSE)
    if state != "COMPLETED":
        raise SearchIndexError(f"{what} failed: {explained(_reason(told))}")


def explained(reason: str) -> str:
    """Add to what ml-commons says what to do about it, where that is known."""
    said = shortened(reason)
    advice = next((told for pattern, told in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), "")
    return f"{said}; {advice}" if advice else said


def _state(task: Mapping[str, Any]) -> str:
    return str(task.get("state", "FAILED"))


def _reason(task: Mapping[str, Any]) -> str:
    """Return what the first node says: the server puts a JSON object of nodes into a string."""
    told = str(task.get("error", "the server gives no reason"))
    try:
        by_node = msgspec.json.decode(told, type=dict[str, str])
    except (msgspec.MsgspecError, RecursionError):
        return told
    return next(iter(by_node.values()), told)
