"""A server's answers, recorded once and played again, each as it was or damaged."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Said", "Tape", "playing"]

_PASSED_ON = ("content-type", "content-encoding")


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    :ivar cut: how many bytes less are sent than the header promises.
    """

    request: str
    status: int
    body: bytes
    kind: str = "application/json; charset=UTF-8"
    cut: int = 0


@dataclass(slots=True)
class Tape:
    """What a server says. While ``upstream`` is set the server itself is asked, and what it says is kept.

    :ivar said: the answers in their order.
    :ivar damaged: what is said instead of the answer of this place.
    """

    upstream: str | None
    said: list[Said] = field(default_factory=list)
    damaged: tuple[int, Said] | None = None
    played: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rewind(self, damaged: tuple[int, Said] | None) -> None:
        """Begin anew."""
        self.played.clear()
        self.damaged = damaged

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> Said:
        """Answer a request: by the server, or as the same request, or one like it, was answered."""
        with self.lock:
            if self.upstream is not None:
                self.said.append(self._asked(method, path, body, headers))
                return self.said[-1]
            request = f"{method} {urlsplit(path).path}"
            places = [place for place, one in enumerate(self.said) if one.request == request]
            left = [place for place in places if place not in self.played] or places[-1:]
            if not left:
                return Said(request, 404, b'{"error":{"type":"not_taped","reason":"not on the tape"},"status":404}')
            self.played.add(left[0])
            if self.damaged is not None and self.damaged[0] == left[0]:
                damaged, self.damaged = self.damaged[1], None  # the same request again gets the right answer
                return damaged
            return self.said[left[0]]

    def _asked(self, method: str, path: str, body: bytes, headers: Any) -> Said:
        connection = http.client.HTTPConnection(str(urlsplit(self.upstream).netloc), timeout=60)
        try:
            kept = {
                name: value for name, value in headers.items() if name.lower() in ("content-type", "content-encoding")
            }
            connection.request(method, path, body, {**kept, "content-length": str(len(body))})
            response = connection.getresponse()
            kind = response.headers.get("content-type", "")
            return Said(f"{method} {urlsplit(path).path}", response.status, response.read(), kind)
        finally:
            connection.close()


@contextmanager
def playing(tape: Tape) -> Iterator[str]:
    """Serve a tape on a loopback port; gives ``opensearch://127.0.0.1:PORT``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            said = tape.answer(self.command, self.path, body, self.headers)
            self.send_response(said.status)
            if said.kind:
                self.send_header("content-type", said.kind)
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body[: len(said.body) - said.cut])
            self.close_connection = bool(said.cut)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to say."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Nothing to say: connections that break are what this is for."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"opensearch://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
