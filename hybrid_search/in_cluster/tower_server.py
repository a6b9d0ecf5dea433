"""Serves towers by HTTP, for clusters that may not run models: the other end of a connector.

``POST /query`` and ``POST /document`` with ``{"texts": ["...", ...]}`` are answered by an array of arrays of numbers,
one for each text, of norm 0 or 1 with cosine similarity. ``GET /`` names the model.
"""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import UsageError
from hybrid_search.protocols import Vectors
from hybrid_search.towers.onnx.encoder import OnnxEncoder

__all__ = ["TowerServer"]

_LONGEST = 16 << 20  # bytes of a request
_MOST_TEXTS = 1_000
_PATIENCE = 30.0

_log = logging.getLogger(__name__)


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    texts: list[str]


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    status: HTTPStatus
    reason: str


class TowerServer(ThreadingHTTPServer):
    """Serves both towers of a checkpoint; :meth:`serve_forever` runs it, :meth:`shutdown` stops it.

    :param model: the checkpoint's folder.
    :param place: (host, port) to listen on; port 0 for any.
    :param token: that requests must send as ``Authorization: Bearer TOKEN``; empty for none.
    :raises ModelNotFound: if there is no checkpoint.
    :raises CorruptModel: if a file of it differs from its recorded hash.
    :raises UsageError: if the address can't be listened on.
    """

    daemon_threads = True

    def __init__(self, model: Path, place: tuple[str, int], token: str = "") -> None:
        encoder = OnnxEncoder.load(model)
        self.model = {"fingerprint": encoder.fingerprint, "dimension": encoder.dimension}
        self.towers: dict[str, Callable[[Sequence[str]], Vectors]] = {
            "/query": encoder.encode_queries,
            "/document": encoder.encode_documents,
        }
        self._authorization = f"Bearer {token}".encode() if token else b""
        for encode in self.towers.values():
            encode(["loaded before the first request"])
        try:
            super().__init__(place, _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "a port is 0 to 65535"
            raise UsageError(f"can't listen on {place[0]}:{place[1]} ({reason}); give another host or port") from error

    @property
    def url(self) -> str:
        """The address on which it listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach it without a token."""
        host = str(self.server_address[0])
        return not self._authorization and not ip_address(host).is_loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a request; a client that closed its connection is not an error."""
        error = sys.exception()
        if isinstance(error, (ConnectionError, TimeoutError)):
            _log.info("%s went away: %s", client_address[0], error)
        else:
            _log.error("a request of %s failed", client_address[0], exc_info=error)

    def lets_in(self, authorization: str) -> bool:
        """Return whether a request's header has the token, compared in constant time."""
        return not self._authorization or hmac.compare_digest(authorization.encode(), self._authorization)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server: TowerServer

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(HTTPStatus.OK, self.server.model)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "POST /query or /document, or GET /")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in JSON when the base class refuses a request (another method, a malformed request)."""
        self.close_connection = True
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def do_POST(self) -> None:
        try:
            vectors = self._encode()
        except _Refused as refused:
            self._refuse(refused.status, refused.reason)
        else:
            self._answer(HTTPStatus.OK, vectors.tolist())

    def _encode(self) -> Vectors:
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # until the body has been read
        if not self.server.lets_in(self.headers.get("Authorization", "")):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "send Authorization: Bearer TOKEN")
        if not length.isdecimal() or int(length) > _LONGEST:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send a Content-Length of at most {_LONGEST}")
        body = self.rfile.read(int(length))
        self.close_connection = self.headers.get("Connection", "").lower() == "close"
        encode = self.server.towers.get(self.path)
        if encode is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "POST /query or /document, or GET /")
        try:
            texts = msgspec.json.decode(body, type=_Asked).texts
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f'{error}; send {{"texts": ["..."]}}') from None
        if not 0 < len(texts) <= _MOST_TEXTS:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"{len(texts)} texts; send 1 to {_MOST_TEXTS}")
        return encode(texts)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, {"error": reason})

    def _answer(self, status: HTTPStatus, value: Any) -> None:
        body = msgspec.json.encode(value)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        _log.info(format, *arguments)  # never a request's body or headers
