"""Sends changes to the process that makes them: of several workers, one writes."""

from __future__ import annotations

import asyncio
import http.client
import socket

from hybrid_search.service.gate import Application, Receive, Scope, Send
from hybrid_search.service.problems import Busy
from hybrid_search.tracing import handed_on

__all__ = ["Forwarding"]

_SENT = (b"authorization", b"content-type", b"x-request-id")
_TOLD = (b"content-type", b"retry-after")
_PATIENCE = 600.0


class Forwarding:
    """ASGI middleware: requests that change documents are answered by the writer, the others here.

    :param place: the path of the writer's socket.
    """

    def __init__(self, app: Application, place: str) -> None:
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request here, or with the writer's answer."""
        if not (scope["type"] == "http" and changes_documents(scope)):
            await self._app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        status, headers, answer = await asyncio.to_thread(self._asked, scope, body)
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _asked(self, scope: Scope, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _SENT}
        headers["x-request-id"] = scope["request_id"]
        handed_on(headers)
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        writer = _ByPath(self._place)
        try:
            writer.request(scope["method"], scope["raw_path"].decode("latin-1") + query, body, headers)
            answer = writer.getresponse()
            told = [(name, value) for name in _TOLD if (value := answer.getheader(name.decode())) is not None]
            return answer.status, [(name, value.encode("latin-1")) for name, value in told], answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Busy(
                f"the process that makes changes does not answer ({type(error).__name__}); the change may have been "
                f"made: send it again, which does no harm"
            ) from error
        finally:
            writer.close()


class _ByPath(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(self._path)


def changes_documents(scope: Scope) -> bool:
    """Return whether a request would change documents."""
    path: str = scope["path"]
    return (path == "/documents" or path.startswith("/documents/")) and scope["method"] in ("POST", "DELETE")
