"""Locks on a server, for one process at a time, which outlive nobody who was killed.

``serving`` is for deploying and undeploying: two side by side would make the same models twice, and one would remove
what the other uses. ``meta-INDEX`` is for the notes in an index's mapping, which a server replaces as a whole.

A lock is a document. Whoever holds it writes it again every few seconds, and whoever waits takes over one that was not
written for longer than that. It is the document's version that is looked at, and no clock: machines need not agree on
the time.
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

import mappings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import AccessDenied, HybridSearchError, IndexExists, IndexLocked, SearchIndexError

__all__ = ["INDEX", "Lock"]

INDEX = "hybrid-search-locks"
"""Holds the locks that are held at the moment, and nothing else."""

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
    """A context: waits for the lock, holds it inside the block.

    :param what: for whoever waits, such as ``deploy of passages``.
    :param name: which lock.
    :param quiet: don't tell whoever waits; for locks that are held for less than a second.
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

        :raises IndexLocked: if somebody else is at work for minutes.
        :raises AccessDenied: if the user may not write into its index.
        :raises SearchIndexError: if the server refuses.
        """
        try:
            # Not HEAD, whose answer gives no reason.
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
        # Where the server hangs, whoever comes next waits until the lock has been silent for long enough.
        if not self._lost.is_set() and self._writing.acquire(timeout=_BEAT):
            with contextlib.suppress(HybridSearchError):
                self._client.call(
                    "DELETE", self._path, **self._unchanged(self._version), ignore=HTTPStatus.NOT_FOUND.value
                )
            self._writing.release()

    @property
    def is_lost(self) -> bool:
        """Whether somebody else holds it by now, as this process did not answer for long."""
        return self._lost.is_set()

    def check(self) -> None:
        """Check that it is still held; to be called before each step.

        :raises IndexLocked: if it is not.
        :raises SearchIndexError: if the server does not tell.
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
        while (held := self._look()) is not None or not self._write(op_type="create"):
            now = time.monotonic()
            if held is None:  # somebody was faster
                continue
            if held.version != seen:
                if seen is None:
                    _log.log(self._level, "waiting for another one to end: %s", held.holder)
                seen, since = held.version, now
            elif now - since > _SILENCE and self._write(**self._unchanged(held.version)):
                _log.warning("%s gave no sign of life for %.0f s; going on without it", held.holder, _SILENCE)
                return
            if now - begun > _PATIENCE:
                raise IndexLocked(f"still at work after {_PATIENCE / 60:.0f} minutes: {held.holder}; try again later")
            time.sleep(_LOOK)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT):
            with self._writing:
                if self._ended.is_set():
                    return
                try:
                    self._renew()
                except HybridSearchError as error:  # the next one may get through
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
        """Write the document if nobody did since; returns whether it is ours."""
        body = {"token": self._token, "holder": self._holder, "since": self._since}
        try:
            answer = self._client.call("PUT", self._path, body, **condition)
        except SearchIndexError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            held = self._look()  # the request was sent twice, after an answer that was lost, or somebody was faster
            if held is None or held.token != self._token:
                return False
            self._version = held.version
            return True
        self._version = (answer["_seq_no"], answer["_primary_term"])
        return True

    @staticmethod
    def _unchanged(version: _Version) -> dict[str, Any]:
        return {"if_seq_no": version[0], "if_primary_term": version[1]}
