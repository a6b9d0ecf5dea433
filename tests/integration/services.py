"""A service in a process of its own, and clients that ask it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made_models import make_model

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

__all__ = ["NOTES", "Running", "running", "write_index"]

ROOT = Path(__file__).parents[2]
NOTES = [
    Document("keys", "Rotate the signing key every ninety days.", "Keys", {"year": 2026, "lang": "en"}),
    Document("backup", "A backup that was never restored is a hope.", "Backups", {"year": 2025, "lang": "en"}),
    Document("logs", "A log line without a request's id helps nobody.", "Logs", {"year": 2024, "lang": "en"}),
]


def write_index(folder: Path, documents: list[Document], *, seed: int = 1) -> Path:
    """Write an index with towers of its own, which nobody trained."""
    model = make_model(folder.with_name(f"{folder.name}-model"), [one.searchable_text for one in NOTES], seed=seed)
    encoder = OnnxEncoder.load(model, threads=1)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint)
    with EmbeddedEngine.create(folder, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        Retriever(encoder, engine).add(documents)
    return folder


@dataclass(frozen=True)
class Running:
    """A service that answers."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask on a connection of its own."""
        with self.connect() as connection:
            return asked(connection, method, path, body)

    def ends(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def asked(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask on a connection that may be used again."""
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"content-type": "application/json"} if data else {})
    answer = connection.getresponse()
    content = answer.read()
    is_json = (answer.getheader("content-type") or "").endswith("json")
    return answer.status, json.loads(content) if is_json else content.decode()


@contextmanager
def running(location: Path | str, *options: object, log: Path = Path(os.devnull)) -> Iterator[Running]:
    """Start ``hybrid-search serve`` and wait until it answers; end it if the test has not.

    :param log: where to write what it logs.
    """
    command = [sys.executable, "-m", "hybrid_search", "serve", str(location), "--port", "0", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        raise AssertionError(process.communicate()[1])
    # Otherwise a service that logs much would wait for us.
    with log.open("wb") as file, subprocess.Popen(["cat"], stdin=process.stderr, stdout=file) as reader:
        try:
            yield Running(process, int(url.rpartition(":")[2]))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.wait()
            process.stdout.close()
            if process.stderr is not None:
                process.stderr.close()
