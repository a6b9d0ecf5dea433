"""An HTTP proxy that does to the requests of a load what overloaded servers and bad networks do."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["Fault", "FaultyServer", "at_random", "bulk_of", "every"]

_REFUSED_ITEM_IN = 3
_DELAY = 0.5
_PATIENCE = 120.0


class Fault(StrEnum):
    """What becomes of one request. Only after the last three has the server taken the documents."""

    TOO_MANY = "answers 429"
    UNAVAILABLE = "answers 503"
    SOME_ITEMS = "every third item of a bulk 429 inside a 200"
    DROP_BEFORE = "closes the connection, the server gets nothing"
    DROP_AFTER = "closes the connection, the server took the documents"
    CUT = "sends half the answer"
    DELAY = "half a second late"


Script = Iterable[Fault | None]
"""A fault, or None, for each request in turn; after its end all goes well."""

Meant = Callable[[str, str], bool]


def every(number: int, *faults: Fault) -> Iterator[Fault | None]:
    """Let every ``number``-th request fail, in each of these ways in turn, for ever."""
    for fault in itertools.cycle(faults):
        yield from itertools.repeat(None, number - 1)
        yield fault


def at_random(seed: int, shares: Mapping[Fault, float]) -> Iterator[Fault | None]:
    """Draw each request's fault for ever; the same ones for the same seed."""
    drawn = random.Random(seed)
    kinds = [*shares, None]
    weights = [*shares.values(), 1 - sum(shares.values())]
    while True:
        yield drawn.choices(kinds, weights)[0]


def bulk_of(index: str) -> Meant:
    """Mean the bulk requests of one index."""
    return lambda method, path: path == f"/{index}/_bulk"


class FaultyServer:
    """A proxy on a loopback port of its own.

    :param meant: which requests, by method and path, meet with faults; all others pass through as they are.
    :ivar counts: how often each fault came to pass; without one it is counted under None.
    """

    def __init__(
        self,
        upstream: str,
        script: Script = (),
        *,
        meant: Meant = lambda method, path: path.endswith("/_bulk"),
        port: int = 0,
    ) -> None:
        self.meant = meant
        self.counts: Counter[Fault | None] = Counter()
        self._script = iter(script)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), upstream, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def location(self) -> str:
        """The URL as an index location without the index's name."""
        return self.url.replace("http://", "opensearch://")

    @property
    def bulks(self) -> int:
        """How many requests have come of those that are meant."""
        return self.counts.total()

    def follow(self, script: Script) -> None:
        """Do otherwise from now on."""
        with self._lock:
            self._script = iter(script)

    def next_fault(self) -> Fault | None:
        with self._lock:
            fault = next(self._script, None)
            self.counts[fault] += 1
            return fault

    def stop(self) -> None:
        """Close the port and every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.wait_until_idle()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, place: tuple[str, int], upstream: str, proxy: FaultyServer) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._idle = threading.Condition()
        self._working = 0
        super().__init__(place, _Handler)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request for as long as it is being handled."""
        with self._idle:
            self._working += 1
        try:
            yield
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def wait_until_idle(self) -> None:
        """Let what was begun end: a bulk that is forwarded late would make an index that was dropped meanwhile."""
        with self._idle:
            self._idle.wait_for(lambda: not self._working, timeout=10)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(*self.server.upstream, timeout=_PATIENCE)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def do_any(self) -> None:
        with self.server.at_work():
            self._do_any()

    def _do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        meant = self.server.proxy.meant(self.command, urlsplit(self.path).path)
        match self.server.proxy.next_fault() if meant else None:
            case Fault.TOO_MANY:
                self._answer(429, _json(_REJECTED))
            case Fault.UNAVAILABLE:
                self._answer(503, b"")
            case Fault.SOME_ITEMS:
                self._without_some_items(body)
            case Fault.DROP_BEFORE:
                self.close_connection = True
            case Fault.DROP_AFTER:
                self._forwarded(body)
                self.close_connection = True
            case Fault.CUT:
                status, answer = self._forwarded(body)
                self._answer(status, answer, sent=len(answer) // 2)
                self.close_connection = True
            case fault:
                if fault is Fault.DELAY:
                    time.sleep(_DELAY)
                self._answer(*self._forwarded(body))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815

    def _without_some_items(self, body: bytes) -> None:
        """Forward the bulk without every third action, and answer for those as a full queue does."""
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
            del self.headers["content-encoding"]
        actions = _actions(body)
        refused = {number for number in range(len(actions)) if number % _REFUSED_ITEM_IN == 0}
        rest = b"".join(action for number, action in enumerate(actions) if number not in refused)
        status, answer = self._forwarded(rest) if rest else (200, _json({"took": 0, "items": []}))
        told = json.loads(answer)
        if status == http.HTTPStatus.OK:
            taken = iter(told["items"])
            told["items"] = [
                _refused_item(action) if number in refused else next(taken) for number, action in enumerate(actions)
            ]
        self._answer(status, _json(told | {"errors": True}))

    def _forwarded(self, body: bytes) -> tuple[int, bytes]:
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
        self._upstream.request(self.command, self.path, body, {**kept, "content-length": str(len(body))})
        with self._upstream.getresponse() as response:
            return response.status, response.read()

    def _answer(self, status: int, body: bytes, *, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


# An answer that is not compressed can be cut and changed here.
_OWN_HEADERS = frozenset({"host", "connection", "content-length", "accept-encoding"})
_CAUSE = {
    "type": "rejected_execution_exception",
    "reason": "rejected execution of coordinating operation [coordinating_and_primary_bytes=1, max=1]",
}
_REJECTED = {"error": {"root_cause": [_CAUSE], **_CAUSE}, "status": 429}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _actions(body: bytes) -> list[bytes]:
    """Take a bulk body apart; a deletion is one line, any other action two."""
    lines = iter(body.splitlines(keepends=True))
    return [line if line.startswith(b'{"delete"') else line + next(lines) for line in lines]


def _refused_item(action: bytes) -> dict[str, Any]:
    ((kind, told),) = json.loads(action.splitlines()[0]).items()
    return {kind: {"_index": told.get("_index", ""), "_id": told["_id"], "status": 429, "error": _CAUSE}}
