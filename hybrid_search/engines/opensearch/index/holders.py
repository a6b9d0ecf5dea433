"""Who has changed which settings of an index for a while: a document for each index, changed by compare-and-set.

A live owner increments its beat every few seconds; others watch for longer than that to see whether it does. No clocks
are compared, so machines need not agree on the time. Whether a process on the same machine has ended is known at once.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from hybrid_search import mappings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.errors import CorruptIndex, IndexExists, SearchIndexError

__all__ = ["BEAT", "INDEX", "SILENCE", "Found", "Holders", "Holding", "Owner", "path_of", "this_machine"]

INDEX = "hybrid-search-writers"
"""The index of these documents: one for each index that was ever loaded into; its id is the index's uuid."""

BEAT = 2.0
SILENCE = 20.0
_LOOK = 0.25

Version = tuple[int, int]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A writer.

    :ivar holder: its name in messages.
    :ivar machine: where its process runs; empty if unknown.
    :ivar beat: increases as long as it is alive.
    :ivar settings: setting -> the value that it has set.
    """

    holder: str
    machine: str = ""
    process: int = 0
    beat: int = 0
    settings: dict[str, str] = {}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one index that owners have changed.

    :ivar before: setting -> its value before the first owner changed it, None if it was not set.
    :ivar owners: token -> owner.
    """

    index: str
    before: dict[str, str | None] = {}
    owners: dict[str, Owner] = {}

    def held(self) -> dict[str, str]:
        """Return all settings that any owner has changed."""
        return {name: value for owner in self.owners.values() for name, value in owner.settings.items()}

    def without(self, *tokens: str) -> Holding:
        """Return a copy without some owners; ``before`` stays."""
        owners = {token: owner for token, owner in self.owners.items() if token not in tokens}
        return msgspec.structs.replace(self, owners=owners)

    def with_owner(self, token: str, owner: Owner) -> Holding:
        """Return a copy with an owner added or replaced."""
        return msgspec.structs.replace(self, owners={**self.owners, token: owner})


@dataclass(frozen=True, slots=True)
class Found:
    """The document as it was read; writing it fails if it has changed since."""

    holding: Holding
    version: Version


class Holders:
    """The document of one index.

    :param uuid: of the index; a later index of the same name has another.
    """

    def __init__(self, client: Client, index: str, uuid: str) -> None:
        self._client = client
        self._index = index
        self._path = path_of(uuid)

    @taken_apart("what loads hold of the index")
    def read(self) -> Found | None:
        """Return the document; None if there is none.

        :raises AccessDenied: if the user may not read it.
        :raises CorruptIndex: if it is invalid.
        """
        answer = self._client.call("GET", self._path, ignore=HTTPStatus.NOT_FOUND.value)
        if not answer.get("found"):
            return None
        source = {name: value for name, value in answer["_source"].items() if name != "revision"}
        try:
            holding = msgspec.convert(source, Holding)
        except msgspec.ValidationError as error:
            raise CorruptIndex(
                f"{self._path} is not what was written there ({error}); delete that document, and look at the index "
                f"with hybrid-search doctor"
            ) from error
        return Found(holding, (answer["_seq_no"], answer["_primary_term"]))

    def read_or_make(self) -> Found:
        """Return the document, creating an empty one if there is none.

        It is kept without owners, too: a document that was deleted and created again would look unchanged.
        """
        while (found := self.read()) is None:
            if INDEX not in self._client.call("GET", f"/{INDEX}", ignore=HTTPStatus.NOT_FOUND.value):
                with contextlib.suppress(IndexExists):
                    self._client.call("PUT", f"/{INDEX}", mappings.render("index/writers"))
            self._put(Holding(index=self._index), op_type="create")
        return found

    def write(self, holding: Holding, found: Found) -> bool:
        """Write the document unless it has changed since it was read; return whether it was written."""
        return self._put(holding, if_seq_no=found.version[0], if_primary_term=found.version[1])

    def silent(self, holding: Holding, but: str) -> set[str]:
        """Find the owners that are no longer alive, which can take :data:`SILENCE` seconds.

        :param but: token of an owner to ignore.
        :return: their tokens.
        """
        seen = {token: owner for token, owner in holding.owners.items() if token != but}
        gone = {token for token, owner in seen.items() if _has_ended(owner)}
        waiting = seen.keys() - gone
        until = time.monotonic() + SILENCE
        while waiting and time.monotonic() < until:
            time.sleep(_LOOK)
            found = self.read()
            now = found.holding.owners if found else {}
            waiting = {token for token in waiting if token in now and now[token].beat == seen[token].beat}
            gone |= {token for token in waiting if _has_ended(seen[token])}
            waiting -= gone
        return gone | waiting

    def _put(self, holding: Holding, **condition: Any) -> bool:
        revision = uuid4().hex
        try:
            self._client.call("PUT", self._path, {**msgspec.to_builtins(holding), "revision": revision}, **condition)
        except SearchIndexError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            # Perhaps the request was sent twice, as its answer was lost.
            answer = self._client.call("GET", self._path, ignore=HTTPStatus.NOT_FOUND.value)
            return bool(answer.get("_source", {}).get("revision") == revision)
        return True


def path_of(uuid: str) -> str:
    """Return the path of an index's document."""
    return f"/{INDEX}/_doc/{uuid}"


@cache
def this_machine() -> str:
    """Identify this machine and its process table, which each container has its own of; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _has_ended(owner: Owner) -> bool:
    """Return whether an owner's process is known to have ended; False if unknown."""
    if not owner.machine or owner.machine != this_machine():
        return False
    try:
        status = Path(f"/proc/{owner.process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[:1] in (["Z"], ["X"])
