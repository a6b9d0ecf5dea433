"""Who holds which settings of an index at other values for now: a document for each index, changed by compare-and-set.

An owner that lives counts up its beat every few seconds. Whoever wants to know whether another one lives looks for
longer than that: no clock is compared, machines need not agree on the time. Of a process on the same machine the system
knows at once that it has ended.
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

import mappings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.errors import CorruptIndex, IndexExists, SearchIndexError

__all__ = ["BEAT", "INDEX", "SILENCE", "Found", "Holders", "Holding", "Owner", "path_of", "this_machine"]

INDEX = "hybrid-search-writers"
"""Holds one document for each index that was ever loaded into; its id is the index's uuid."""

BEAT = 2.0
SILENCE = 20.0
_LOOK = 0.25

Version = tuple[int, int]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """One writer.

    :ivar holder: what people call it.
    :ivar machine: where its process runs; empty where that can't be told.
    :ivar beat: counts up while it lives.
    :ivar settings: what it holds: setting -> value.
    """

    holder: str
    machine: str = ""
    process: int = 0
    beat: int = 0
    settings: dict[str, str] = {}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of one index.

    :ivar before: setting -> its value before the first owner changed it, None where it was not set.
    :ivar owners: by their tokens.
    """

    index: str
    before: dict[str, str | None] = {}
    owners: dict[str, Owner] = {}

    def held(self) -> dict[str, str]:
        """Return all settings that some owner holds."""
        return {name: value for owner in self.owners.values() for name, value in owner.settings.items()}

    def without(self, *tokens: str) -> Holding:
        """Return the same with some owners gone; what was before stays."""
        owners = {token: owner for token, owner in self.owners.items() if token not in tokens}
        return msgspec.structs.replace(self, owners=owners)

    def with_owner(self, token: str, owner: Owner) -> Holding:
        """Return the same with an owner added or changed."""
        return msgspec.structs.replace(self, owners={**self.owners, token: owner})


@dataclass(frozen=True, slots=True)
class Found:
    """The document as it was read; a write is refused when it has changed since."""

    holding: Holding
    version: Version


class Holders:
    """The document of one index.

    :param uuid: the index's, which another one of the same name does not have.
    """

    def __init__(self, client: Client, index: str, uuid: str) -> None:
        self._client = client
        self._index = index
        self._path = path_of(uuid)

    @taken_apart("what loads hold of the index")
    def read(self) -> Found | None:
        """Return the document; None where there is none.

        :raises AccessDenied: if the user may not read it.
        :raises CorruptIndex: if it is not what was written.
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
        """Return the document, an empty new one where there is none.

        It stays when nobody holds anything any more: one that was deleted and made again could not be told from one
        that had not changed.
        """
        while (found := self.read()) is None:
            if INDEX not in self._client.call("GET", f"/{INDEX}", ignore=HTTPStatus.NOT_FOUND.value):
                with contextlib.suppress(IndexExists):
                    self._client.call("PUT", f"/{INDEX}", mappings.render("index/writers"))
            self._put(Holding(index=self._index), op_type="create")
        return found

    def write(self, holding: Holding, found: Found) -> bool:
        """Write the document unless somebody changed it since it was read; returns whether it was written."""
        return self._put(holding, if_seq_no=found.version[0], if_primary_term=found.version[1])

    def silent(self, holding: Holding, but: str) -> set[str]:
        """Tell the owners that live from those that do not, which can take :data:`SILENCE` seconds.

        :param but: the token of one that is not looked at.
        :return: the tokens of those that do not.
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
            # Perhaps sent twice, after an answer that was lost.
            answer = self._client.call("GET", self._path, ignore=HTTPStatus.NOT_FOUND.value)
            return bool(answer.get("_source", {}).get("revision") == revision)
        return True


def path_of(uuid: str) -> str:
    """Return where an index's document is."""
    return f"/{INDEX}/_doc/{uuid}"


@cache
def this_machine() -> str:
    """Name this machine and its table of processes, which containers have their own of; empty where it can't be."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _has_ended(owner: Owner) -> bool:
    """Tell whether an owner's process is known to have ended; False where that can't be told."""
    if not owner.machine or owner.machine != this_machine():
        return False
    try:
        status = Path(f"/proc/{owner.process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[:1] in (["Z"], ["X"])
