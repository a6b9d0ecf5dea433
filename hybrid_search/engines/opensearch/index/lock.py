"""Locks on a server, held by one process at a time; a killed process loses its lock after some seconds.

``serving`` is for deploying and undeploying: concurrent ones would create the same models twice, and one would remove
what the other uses. ``meta-INDEX`` is for the notes in an index's mapping, which a server replaces as a whole.

A lock is a document. Its holder rewrites it every few seconds; a waiting process takes over a lock that was not
rewritten for longer than that. It compares the document's versions, no clocks, so machines need not agree on the time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from hybrid_search import mappings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import AccessDenied, HybridSearchError, IndexExists, IndexLocked, SearchIndexError

__all__ = ["INDEX", "Lock"]

INDEX = "hybrid-search-locks"
"""The index of the locks; it contains only locks that are held."""

_BEAT = 2.0
_SILENCE = 20.0
_LOOK = 0.5
_PATIENCE = 600.0

_log = logging.getLogger(__name__)

_Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    holder: str
    version: _Version


class Lock:
    """A context manager that waits for the lock and holds it inside the block.

    :param what: shown to waiting processes, such as ``deploy of passages``.
    :param name: of the lock.
    :param quiet: don't log waiting; for locks that are held for less than a second.
    """

    def __init__(self, client: Client, what: str, *, name: str = "serving", quiet: bool = False) -> None:
        self._client = client
        self._path = f"/{INDEX}/_doc/{name}"
        self._level = logging.INFO if quiet else logging.WARNING
        self._token = uuid.uuid4().hex
        self._holder = f"{what} (process {os.getpid()} on {platform.node() or 'an unnamed machine'})"
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._version: _Version = (-1, -1)
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"holds the lock {name}", daemon=True)

    def __enter__(self) -> Self:
        """Wait for the lock.

        :raises IndexLocked: if another process holds it for minutes.
        :raises AccessDenied: if the user may not write into the index of the locks.
        :raises SearchIndexError: if the server refuses.
        """
        try:
            # Not HEAD, whose answer contains no reason.
            if INDEX not in self._client.call("GET", f"/{INDEX}", ignore=HTTPStatus.NOT_FOUND.value):
                with contextlib.suppress(IndexExists):
                    self._client.call("PUT", f"/{INDEX}", mappings.render("index/locks"))
            self._wait()
        except AccessDenied as error:
            raise AccessDenied(
                f"{error}; who deploys, undeploys or moves an alias takes a lock first, in the index {INDEX} "
                f"(docs/in_cluster.md has a role with all that it takes). Nothing was changed",
                status=error.status,
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # If the server hangs, the lock stays, and the next process takes it over after a while.
        if not self._lost.is_set() and self._writing.acquire(timeout=_BEAT):
            with contextlib.suppress(HybridSearchError):
                self._client.call(
                    "DELETE", self._path, **self._unchanged(self._version), ignore=HTTPStatus.NOT_FOUND.value
                )
            self._writing.release()

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken the lock over, as this one did not reach the server for long."""
        return self._lost.is_set()

    def check(self) -> None:
        """Check that the lock is still held; to be called before each step.

        :raises IndexLocked: if it is not.
        :raises SearchIndexError: if the server can't be asked.
        """
        with self._writing:
            self._renew()
        if self.is_lost:
            raise IndexLocked(
                f"this process did not reach the server for {_SILENCE:.0f} s, and another one took over; this one "
                f"stops here and leaves everything to it. Run the same command again when that is done"
            )

    def _wait(self) -> None:
        begun = since = time.monotonic()
        seen: _Version | None = None
        while (current := self._look()) is not None or not self._write(op_type="create"):
            now = time.monotonic()
            if current is None:  # another process was faster
                continue
            if current.version != seen:
                if seen is None:
                    _log.log(self._level, "waiting for another one to end: %s", current.holder)
                seen, since = current.version, now
            elif now - since > _SILENCE and self._write(**self._unchanged(current.version)):
                _log.warning("%s gave no sign of life for %.0f s; going on without it", current.holder, _SILENCE)
                return
            if now - begun > _PATIENCE:
                raise IndexLocked(
                    f"still at work after {_PATIENCE / 60:.0f} minutes: {current.holder}; try again later"
                )
            time.sleep(_LOOK)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT):
            with self._writing:
                if self._ended.is_set():
                    return
                try:
                    self._renew()
                except HybridSearchError as error:  # the next attempt may succeed
                    _log.info("the lock could not be written: %s", error)

    def _renew(self) -> None:
        if not self.is_lost and not self._write(**self._unchanged(self._version)):
            self._lost.set()

    def _look(self) -> _Held | None:
        answer = self._client.call("GET", self._path, ignore=HTTPStatus.NOT_FOUND.value)
        if not answer.get("found"):
            return None
        source = answer["_source"]
        return _Held(source["token"], source["holder"], (answer["_seq_no"], answer["_primary_term"]))

    def _write(self, **condition: Any) -> bool:
        """Write the document unless it has changed; return whether the lock is this process's."""
        body = {"token": self._token, "holder": self._holder, "since": self._since}
        try:
            answer = self._client.call("PUT", self._path, body, **condition)
        except SearchIndexError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            current = self._look()  # another process was faster, or this request was sent twice, as its answer was lost
            if current is None or current.token != self._token:
                return False
            self._version = current.version
            return True
        self._version = (answer["_seq_no"], answer["_primary_term"])
        return True

    @staticmethod
    def _unchanged(version: _Version) -> dict[str, Any]:
        return {"if_seq_no": version[0], "if_primary_term": version[1]}
