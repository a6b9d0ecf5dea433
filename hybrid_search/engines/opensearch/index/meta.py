"""The notes in an index's mapping (``_meta``); this is the only module that changes them.

A server replaces ``_meta`` as a whole and offers no condition for that, so concurrent writers would overwrite each
other's notes. A lock for each index makes the changes one after the other; see
:mod:`~hybrid_search.engines.opensearch.index.lock`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from hybrid_search.engines.opensearch.index import meta as notes
from hybrid_search.engines.opensearch.index.lock import Lock
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.engines.opensearch.transport.plan import pauses
from hybrid_search.errors import SearchIndexError

__all__ = [
    "Mark",
    "State",
    "change_mark",
    "mark_of",
    "marked",
    "next_name",
    "number_of",
    "read",
    "read_mark",
    "update",
]


_SERVER_PATIENCE = "10s"
"""How long a change may be queued on the server; shorter than the time after which the lock is taken over."""


@taken_apart("the index's notes")
def read(client: Client, index: str) -> dict[str, Any]:
    """Return all notes of an index by key.

    :raises IndexNotFound: if there is no such index.
    """
    answer = client.call("GET", f"/{index}/_mapping")[index]
    meta: dict[str, Any] = answer["mappings"].get("_meta", {})
    return meta


def update(client: Client, index: str, key: str, change: Callable[[Any], Any]) -> None:
    """Change one note; all others stay, including concurrent changes to them.

    :param index: its own name, never an alias.
    :param change: gets the note, None if there is none, and returns the new one, None to remove it. It is called again
        if the change must be repeated.
    :raises IndexNotFound: if there is no such index.
    :raises AccessDenied: if the user may not write into the index of the locks.
    :raises SearchIndexError: if the server refuses, or can't be reached in all attempts.
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
    # Not retried: sent again after a broken connection, it could undo what the next holder of the lock has written.
    client.once("PUT", f"/{index}/_mapping", {"_meta": notes}, cluster_manager_timeout=_SERVER_PATIENCE)


State = Literal["loading", "ready", "failed"]

_KEY = "alias"
_LONGEST_HISTORY = 20


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The role of an index behind an alias.

    :ivar state: ``loading`` until it has been checked, then ``ready`` or ``failed``.
    :ivar source: identifies the data that it is loaded from; a repeated load continues in the same index.
    :ivar history: the indexes that were live before it, the last one first.
    :ivar went_live: when it first became live (ISO 8601, UTC); empty if it did not.
    """

    alias: str
    state: State = "loading"
    source: str = ""
    history: tuple[str, ...] = ()
    went_live: str = ""

    def after(self, live: str | None, history: Iterable[str]) -> Mark:
        """Return the mark of a checked index that can replace ``live``, which has the given history."""
        before = (*([live] if live else ()), *history)
        return msgspec.structs.replace(self, state="ready", history=before[:_LONGEST_HISTORY])

    def with_state(self, state: State) -> Mark:
        """Return a copy with another state."""
        return msgspec.structs.replace(self, state=state)

    def live_from(self, moment: str) -> Mark:
        """Return a copy with the time when the index became live; an earlier time stays."""
        return msgspec.structs.replace(self, went_live=self.went_live or moment)


def read_mark(meta: Mapping[str, Any]) -> Mark | None:
    """Read an index's mark from its ``_meta``; None if there is none, or an invalid one."""
    if _KEY not in meta:
        return None
    try:
        return msgspec.convert(meta[_KEY], Mark)
    except msgspec.ValidationError:
        return None


def marked(meta: Mapping[str, Any], mark: Mark) -> dict[str, Any]:
    """Return ``_meta`` with another mark and the other notes unchanged."""
    return {**meta, _KEY: msgspec.to_builtins(mark)}


def mark_of(client: Client, name: str) -> Mark:
    """Return an index's mark; an empty one if it has none."""
    return _mark_or_empty(notes.read(client, name))


def change_mark(client: Client, name: str, change: Callable[[Mark], Mark]) -> None:
    """Change an index's mark.

    :param change: gets the current mark, an empty one if there is none.
    """

    def changed(note: Any) -> Any:
        return msgspec.to_builtins(change(_mark_or_empty({} if note is None else {_KEY: note})))

    notes.update(client, name, _KEY, changed)


def _mark_or_empty(meta: Mapping[str, Any]) -> Mark:
    return read_mark(meta) or Mark(alias="", state="ready")


def number_of(name: str, alias: str) -> int | None:
    """Return the number of an index such as ``passages-000007``; None for other names."""
    found = re.fullmatch(rf"{re.escape(alias)}-(\d{{6,}})", name)
    return int(found[1]) if found else None


def next_name(alias: str, names: Iterable[str]) -> str:
    """Return the name of a new index, with the next number.

    :param names: of all existing indexes.
    """
    numbers = (number_of(name, alias) for name in names)
    return f"{alias}-{max((number for number in numbers if number is not None), default=0) + 1:06}"
