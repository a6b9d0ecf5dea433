"""Index settings that are changed during a load, and restored however it ends.

Their previous values, and who changed them, are recorded on the server before the change (:mod:`holders`). Several
writers may change them at the same time: the last one restores them, and whoever opens the index to write restores
what a killed one left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from hybrid_search.engines.opensearch.index import meta
from hybrid_search.engines.opensearch.index.holders import BEAT, Found, Holders, Holding, Owner, this_machine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.errors import AccessDenied, HybridSearchError, IndexNotFound

__all__ = ["GRAPH_THRESHOLD", "OLD_NOTE", "REFRESH", "HeldSettings", "settable", "while_loading"]

OLD_NOTE = "held_settings"
"""The key in ``_meta`` where earlier versions recorded the previous values."""

REFRESH = "index.refresh_interval"
GRAPH_THRESHOLD = "index.knn.advanced.approximate_threshold"
_REPLICAS = "index.number_of_replicas"
_AUTO_REPLICAS = "index.auto_expand_replicas"
_OURS = frozenset({REFRESH, GRAPH_THRESHOLD, _REPLICAS, _AUTO_REPLICAS})
"""All settings that are ever changed; others named in a record are ignored."""

_log = logging.getLogger(__name__)


def while_loading(*, without_replicas: bool, without_graphs: bool) -> dict[str, str]:
    """Return the settings for the time of a load.

    :param without_graphs: build graphs only when segments are merged (faiss).
    """
    changes = {REFRESH: "-1"}
    if without_replicas:
        changes |= {_REPLICAS: "0", _AUTO_REPLICAS: "false"}
    if without_graphs:
        changes[GRAPH_THRESHOLD] = "-1"
    return changes


class HeldSettings:
    """The settings of one index that this writer has changed for a while.

    :param uuid: of the index.
    """

    def __init__(self, client: Client, index: str, uuid: str) -> None:
        self._client = client
        self._index = index
        self._holders = Holders(client, index, uuid)
        self._token = uuid4().hex
        self._mine: dict[str, str] = {}
        self._before: dict[str, str | None] = {}
        self._guard = threading.Lock()
        self._beating: threading.Event | None = None

    def repair(self) -> bool:
        """Restore settings that a killed writer left and no other one needs; return whether there were any.

        Finding out whether a writer is alive may take seconds. Without the right to read the record nothing happens.
        """
        found = False
        with contextlib.suppress(AccessDenied):
            found = self._repair_old()
            if (record := self._holders.read()) is not None and (record.holding.before or record.holding.owners):
                found |= self._settle({})
        return found

    def hold(self, changes: Mapping[str, str]) -> None:
        """Change settings, except for those already changed by this writer.

        :raises AccessDenied: if the user may not write the record; nothing is changed then.
        """
        new = {name: value for name, value in changes.items() if name not in self._mine}
        if not new:
            return
        with self._guard:
            mine = self._mine | new
            while True:
                found = self._holders.read_or_make()
                # Read after the document: a writer that restores settings in between changes the document.
                now = self._settings()
                before = {name: now.get(name) for name in new} | found.holding.before
                noted = msgspec.structs.replace(found.holding, before=before).with_owner(self._token, self._owner(mine))
                if self._holders.write(noted, found):
                    break
            self._mine, self._before = mine, self._before | before
        self._start_beating()
        self._change(new)

    def give_back(self, names: Collection[str] | None = None) -> None:
        """Restore settings that no other writer needs; may be called twice, and after the index was dropped.

        :param names: some settings only; None for all.
        :raises SearchIndexError: if the server can't be reached; the next writer restores them then.
        """
        if not self._mine:
            return
        rest = {name: value for name, value in self._mine.items() if names is not None and name not in names}
        self._settle(rest)
        if not rest:
            self._stop_beating()

    def give_back_or_tell(self) -> None:
        """Restore settings when this writer is closed; errors are logged, so that they don't hide another one."""
        try:
            self.give_back()
        except HybridSearchError as error:
            names = ", ".join(self._mine)
            _log.warning(
                "%s: %s could not be given back (%s); the next load into it, or opening it to write, does it",
                self._index, names, error,
            )  # fmt: skip
        finally:
            self._stop_beating()

    def _settle(self, rest: Mapping[str, str]) -> bool:
        """Keep only the settings ``rest``, and restore those that no writer needs; return whether there were any."""
        found = self._holders.read()
        # Outside of the lock, because this writer's own beat must go on meanwhile.
        gone = self._holders.silent(found.holding, self._token) if found else set[str]()
        with self._guard:
            try:
                restored = self._left(rest, gone)
            except IndexNotFound:  # dropped
                restored = set()
            self._mine = dict(rest)
        return bool(restored)

    def _left(self, rest: Mapping[str, str], gone: Collection[str]) -> set[str]:
        """Remove this writer and dead ones from the record; return the settings that were restored."""
        restored: set[str] = set()
        while (found := self._holders.read()) is not None:
            holding = found.holding.without(*gone, self._token)
            others = holding.held()
            if rest:
                holding = holding.with_owner(self._token, self._owner(dict(rest)))
            still_held = holding.held()
            due = {name: value for name, value in holding.before.items() if name not in still_held}
            # A writer that joined in between may have changed it before this one.
            again = {name: others[name] for name in restored & others.keys()}
            self._change(settable(due) | again)
            restored |= due.keys()
            kept = {name: value for name, value in holding.before.items() if name in still_held}
            if self._written(msgspec.structs.replace(holding, before=kept), found):
                return restored
        # The record was deleted.
        due = {name: value for name, value in self._before.items() if name in self._mine and name not in rest}
        self._change(settable(due))
        return set(due)

    def _written(self, holding: Holding, found: Found) -> bool:
        return holding == found.holding or self._holders.write(holding, found)

    def _repair_old(self) -> bool:
        """Restore settings that a load of an earlier version recorded in the mapping."""
        before = meta.read(self._client, self._index).get(OLD_NOTE)
        if not isinstance(before, Mapping):
            return False
        self._change(settable(before))
        meta.update(self._client, self._index, OLD_NOTE, lambda _: None)
        return True

    def _owner(self, settings: dict[str, str]) -> Owner:
        holder = f"process {os.getpid()} on {platform.node() or 'an unnamed machine'}"
        return Owner(holder=holder, machine=this_machine(), process=os.getpid(), settings=settings)

    def _start_beating(self) -> None:
        if self._beating is None:
            self._beating = ended = threading.Event()
            name = f"holds settings of {self._index}"
            threading.Thread(target=self._beat, args=(ended,), name=name, daemon=True).start()

    def _stop_beating(self) -> None:
        if self._beating is not None:
            self._beating.set()
            self._beating = None

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                with self._guard:
                    if ended.is_set():  # the connections may be closed
                        return
                    self._count_up()
            except HybridSearchError as error:  # the next attempt may succeed
                _log.info("%s: the note of what is held could not be written: %s", self._index, error)

    def _count_up(self) -> None:
        while self._mine and (found := self._holders.read()) is not None:
            owner = found.holding.owners.get(self._token)
            if owner is None:  # this process was silent for long, and another one restored the settings
                return
            counted = msgspec.structs.replace(owner, beat=owner.beat + 1)
            if self._holders.write(found.holding.with_owner(self._token, counted), found):
                return

    @taken_apart("the index's settings")
    def _settings(self) -> dict[str, str]:
        answer = self._client.call("GET", f"/{self._index}/_settings", flat_settings="true")
        settings: dict[str, str] = answer[self._index]["settings"]
        return settings

    def _change(self, changes: Mapping[str, str | None]) -> None:
        if changes:
            self._client.call("PUT", f"/{self._index}/_settings", changes)


def settable(before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings to restore: known ones, without a number of replicas that the server determines itself."""
    ours = {name: value for name, value in before.items() if name in _OURS}
    if ours.get(_AUTO_REPLICAS) in (None, "false"):
        return ours
    return {name: value for name, value in ours.items() if name != _REPLICAS}
