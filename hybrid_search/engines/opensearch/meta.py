"""The notes of ours in an index's mapping, its ``_meta``: the one place that changes them.

A server replaces ``_meta`` as a whole and has no condition for it, so whoever changes one note would write the others
as it read them before. A lock for each index lets one change after the other be made; see
:mod:`~hybrid_search.engines.opensearch.lock`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.failures import taken_apart
from hybrid_search.engines.opensearch.lock import Lock
from hybrid_search.engines.opensearch.retrying import pauses
from hybrid_search.errors import SearchIndexError

__all__ = ["read", "update"]

_SERVER_PATIENCE = "10s"
"""How long a change may wait on the server for its turn: less than a silent holder of the lock is waited for."""


@taken_apart("the index's notes")
def read(client: Client, index: str) -> dict[str, Any]:
    """Return all notes of an index, by their keys.

    :raises IndexNotFound: if there is no such index.
    """
    answer = client.call("GET", f"/{index}/_mapping")[index]
    meta: dict[str, Any] = answer["mappings"].get("_meta", {})
    return meta


def update(client: Client, index: str, key: str, change: Callable[[Any], Any]) -> None:
    """Change one note; all others stay as they are, also those that somebody changes at the same moment.

    :param index: its own name, never an alias's.
    :param change: gets the note as it is, None where there is none, and returns it as it is to be, None for none. It
        is called again when the change has to be begun again.
    :raises IndexNotFound: if there is no such index.
    :raises AccessDenied: if the user may not write into the index of the locks.
    :raises SearchIndexError: if the server refuses, or can't be reached for longer than all tries take.
    """
    waits = pauses(client.connection.retries)
    while True:
        lock = Lock(client, f"a note in the mapping of {index}", name=f"meta-{index}", quiet=True)
        try:
            with lock:
                _change(client, index, key, change, lock)
            return
        except SearchIndexError as error:
            pause = next(waits, None) if error.retryable or lock.is_lost else None
            if pause is None:
                raise
        time.sleep(pause)


def _change(client: Client, index: str, key: str, change: Callable[[Any], Any], lock: Lock) -> None:
    meta = read(client, index)
    before = meta.get(key)
    value = change(before)
    if value == before:
        return
    notes = {name: note for name, note in meta.items() if name != key}
    if value is not None:
        notes[key] = value
    lock.check()
    # Once: sent again after the connection came back, it could undo what the next holder of the lock wrote meanwhile.
    client.once("PUT", f"/{index}/_mapping", {"_meta": notes}, cluster_manager_timeout=_SERVER_PATIENCE)
