"""Index settings that are changed while documents are written, and given back in every exit.

What they were is noted in the index itself (its mapping's ``_meta``) before they are changed, so that whoever opens
the index to write after a crash can give them back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.errors import HybridSearchError, IndexNotFound

__all__ = ["GRAPH_THRESHOLD", "NOTE", "REFRESH", "HeldSettings", "while_loading"]

NOTE = "held_settings"
"""The key in ``_meta``: setting -> its value before, null where it was not set."""

REFRESH = "index.refresh_interval"
GRAPH_THRESHOLD = "index.knn.advanced.approximate_threshold"
_REPLICAS = "index.number_of_replicas"
_AUTO_REPLICAS = "index.auto_expand_replicas"

_log = logging.getLogger(__name__)


def while_loading(*, without_replicas: bool, without_graphs: bool) -> dict[str, str]:
    """Return the settings for the time of a load.

    :param without_graphs: build the graphs of new segments only when they are merged (faiss).
    """
    changes = {REFRESH: "-1"}
    if without_replicas:
        changes |= {_REPLICAS: "0", _AUTO_REPLICAS: "false"}
    if without_graphs:
        changes[GRAPH_THRESHOLD] = "-1"
    return changes


class HeldSettings:
    """The settings of one index that are held at other values for now."""

    def __init__(self, client: Client, index: str) -> None:
        self._client = client
        self._index = index
        self._before: dict[str, str | None] = {}

    def repair(self) -> bool:
        """Give back what somebody who was killed still held; returns whether there was anything."""
        self._before = dict(self._meta().get(NOTE, {}))
        found = bool(self._before)
        self.give_back()
        return found

    def hold(self, changes: Mapping[str, str]) -> None:
        """Change settings; those held already are left alone."""
        new = {name: value for name, value in changes.items() if name not in self._before}
        if not new:
            return
        answer = self._client.call("GET", f"/{self._index}/_settings", flat_settings="true")
        now = answer[self._index]["settings"]
        before = self._before | {name: now.get(name) for name in new}
        self._note(before)
        self._before = before
        self._change(new)

    def give_back(self, names: Collection[str] | None = None) -> None:
        """Set settings to what they were; again is harmless, and so is an index that was dropped meanwhile.

        :param names: some only; None for all.
        :raises SearchIndexError: if the server can't be asked; whoever opens the index next gives them back.
        """
        if not self._before:
            return
        due = {name: value for name, value in self._before.items() if names is None or name in names}
        rest = {name: value for name, value in self._before.items() if name not in due}
        try:
            self._change(_settable(due))
            self._note(rest)
        except IndexNotFound:
            rest = {}
        self._before = rest

    def give_back_or_tell(self) -> None:
        """Give back what is still held on the way out, where another error must not be hidden by one of this."""
        try:
            self.give_back()
        except HybridSearchError as error:
            names = ", ".join(self._before)
            _log.warning(
                "%s: %s could not be given back (%s); the next load into it, or opening it to write, does it",
                self._index, names, error,
            )  # fmt: skip

    def _change(self, changes: Mapping[str, str | None]) -> None:
        if changes:
            self._client.call("PUT", f"/{self._index}/_settings", changes)

    def _note(self, before: Mapping[str, str | None]) -> None:
        # The server replaces _meta as a whole.
        meta = {name: value for name, value in self._meta().items() if name != NOTE}
        self._client.call("PUT", f"/{self._index}/_mapping", {"_meta": meta | ({NOTE: before} if before else {})})

    def _meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"]["_meta"]
        return meta


def _settable(before: Mapping[str, str | None]) -> dict[str, str | None]:
    """Leave out the number of replicas where the server is to find it itself again."""
    if before.get(_AUTO_REPLICAS) in (None, "false"):
        return dict(before)
    return {name: value for name, value in before.items() if name != _REPLICAS}
