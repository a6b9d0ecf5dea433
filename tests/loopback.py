"""A server on a loopback port that answers what it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hybrid_search.location import Address

__all__ = ["DROP", "Asked", "Loopback", "loopback"]

DROP = 0
"""In the place of a status: close the connection without an answer."""

Answer = tuple[int, Any]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Loopback:
    """What happened at the server.

    :ivar connections: how many were made.
    """

    address: Address
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


@contextmanager
def loopback(*answers: Answer, always: Answer = (200, {}), tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Answer the first requests with ``answers``, the others with ``always``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(iter(answers), always))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.seen = seen = Loopback(Address("127.0.0.1", server.server_port, "", tls=tls is not None))  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answers: Iterable[Answer], always: Answer) -> type[BaseHTTPRequestHandler]:
    remaining = iter(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        wbufsize = -1  # header and body leave together

        def setup(self) -> None:
            super().setup()
            self.server.seen.connections += 1  # type: ignore[attr-defined]

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.seen.asked.append(Asked(self.command, self.path, headers, body))  # type: ignore[attr-defined]
            status, told = next(remaining, always)
            if status == DROP:
                self.close_connection = True
                return
            sent = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if isinstance(told, str) else "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server looks for these

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ssl.SSLError):  # a client that does not like our certificate
                self.close_connection = True

    return Handler
