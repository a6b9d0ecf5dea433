"""A server that takes saved objects as Dashboards does, keeps them, and says so; for machines without Dashboards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["StandIn", "stand_in_dashboards"]

_IMPORT = "/api/saved_objects/_import?overwrite=true"
_WHO = "/api/v1/auth/authinfo"


@dataclass
class StandIn:
    """Where it is, and what it was given: (type, id) -> object.

    :ivar tenants: name -> may be written to; None without the security plugin, which has a page of its own for them.
    """

    url: str
    tenants: dict[str, bool] | None = None
    kept: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def take(self, lines: bytes) -> dict[str, Any]:
        results, errors = [], []
        objects = [json.loads(line) for line in lines.splitlines() if line]
        names = {(one["type"], one["id"]) for one in objects} | self.kept.keys()
        for one in objects:
            name = one["type"], one["id"]
            missing = [each for each in one["references"] if (each["type"], each["id"]) not in names]
            if missing:
                error = {"type": "missing_references", "references": missing}
                errors.append({"type": one["type"], "id": one["id"], "error": error})
                continue
            replaced = {"overwrite": True} if name in self.kept else {}
            results.append({"type": one["type"], "id": one["id"], **replaced})
            self.kept[name] = one
        told: dict[str, Any] = {"successCount": len(results), "success": not errors, "successResults": results}
        return told | ({"errors": errors} if errors else {})


@contextmanager
def stand_in_dashboards(tenants: dict[str, bool] | None = None) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == _WHO and standing.tenants is not None:
                asked = self.headers.get("securitytenant", "")
                known = asked if asked in standing.tenants else ""  # as it goes on: in the global tenant
                self._send(200, {"user_name": "me", "user_requested_tenant": known, "tenants": standing.tenants})
            else:
                self._send(404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"})

        def do_POST(self) -> None:
            self._send(*self._answer(self.rfile.read(int(self.headers["content-length"]))))

        def _send(self, status: int, told: dict[str, Any]) -> None:
            sent = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def _answer(self, body: bytes) -> tuple[int, dict[str, Any]]:
            if self.path != _IMPORT:
                return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}
            if self.headers["osd-xsrf"] is None:
                return 400, {
                    "statusCode": 400,
                    "error": "Bad Request",
                    "message": "Request must contain a osd-xsrf header.",
                }
            form = BytesParser().parsebytes(
                b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + body
            )
            [file] = form.get_payload()
            assert file.get_filename().endswith(".ndjson")
            return 200, standing.take(file.get_payload(decode=True))

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        standing = StandIn(f"http://127.0.0.1:{server.server_port}", tenants)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield standing
        finally:
            server.shutdown()
            thread.join()
