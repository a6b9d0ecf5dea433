"""Changes that a worker hands on to the one that writes come back with what the writer said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hybrid_search.service.forwarding import Forwarding


def test_a_writer_that_is_full_tells_when_to_come_again(tmp_path: Path) -> None:
    scope = {
        "type": "http", "path": "/documents", "raw_path": b"/documents", "method": "POST", "query_string": b"",
        "headers": [], "request_id": "r1",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def full(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        head = b"HTTP/1.1 503 Busy\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nContent-Length: 2"
        writer.write(head + b"\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_unix_server(full, str(tmp_path / "writer.sock")):
            await Forwarding(None, str(tmp_path / "writer.sock"))(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(asked())
    start, body = sent
    assert (start["status"], body["body"]) == (503, b"{}")
    assert dict(start["headers"]) == {
        b"content-type": b"application/problem+json", b"retry-after": b"1", b"content-length": b"2"
    }  # fmt: skip
