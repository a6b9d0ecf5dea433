"""How many searches a second does the HTTP service answer for 16 clients, and what does HTTP add to one search?"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, milliseconds, passages, real_queries, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder

CLIENTS = 16
QUERIES = 1_000
SECONDS = 10.0
WORKERS = (1, 2)


def main() -> None:
    """Index 41,751 passages, then ask one query at a time in the library and over HTTP, then 16 clients at once."""
    queries = real_queries(QUERIES)
    with tempfile.TemporaryDirectory() as folder:
        index = _index(Path(folder))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as backend:
            library = backend.submit(_in_library, index, queries).result()
        figures: dict[str, object] = {"passages": 41_751, "library ms": library}
        for workers in WORKERS:
            with _served(index, workers) as (process, port, ready):
                alone = milliseconds(_Client(port).search, queries)
                used = _processor_seconds(process.pid)
                many = _many(port, queries)
                used = _processor_seconds(process.pid) - used
            figures[f"workers {workers}"] = {
                "ready after s": ready,
                "one client ms": alone,
                "added to the library p50 ms": round(alone["p50"] - library["p50"], 3),
                f"{CLIENTS} clients": many,
                # What other programs on the machine do changes this little.
                "processor ms a search": round(used / many["searches"] * 1_000, 3),
            }
    write_result("service", figures, command="python -m benchmarks.service")


def _index(folder: Path) -> Path:
    documents, model = passages(), untrained_towers(folder / "model")
    encoder = OnnxEncoder.load(model)
    settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss="HNSW32")
    with EmbeddedEngine.create(folder / "index", settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        engine.add(documents, encoder.encode_documents([one.searchable_text for one in documents]))
        engine.commit()
    return folder / "index"


def _in_library(index: Path, queries: list[str]) -> dict[str, float]:
    with EmbeddedEngine.open(index) as engine:
        folder = engine.model_folder()
        assert folder is not None
        retriever = Retriever(OnnxEncoder.load(folder), engine)
        taken = milliseconds(lambda query: retriever.search(query, 10), queries)
        began = time.process_time()
        for query in queries:
            retriever.search(query, 10)
        return taken | {"processor": round((time.process_time() - began) / len(queries) * 1_000, 3)}


def _processor_seconds(process: int) -> float:
    """Return what a process and those that it started have used of the processors."""
    ticks = os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks + sum(_processor_seconds(int(child)) for child in children)


@contextmanager
def _served(index: Path, workers: int) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "hybrid_search", "serve", str(index), "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        ready = round(time.perf_counter() - began, 2)
        try:
            yield process, port, ready
        finally:
            process.terminate()


class _Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def search(self, query: str) -> None:
        body = json.dumps({"query": query, "k": 10})
        self._connection.request("POST", "/search", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}")

    def close(self) -> None:
        self._connection.close()


def _many(port: int, queries: Sequence[str]) -> dict[str, float]:
    """Let 16 clients ask for a while, each its next query when it has its answer."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        until = time.perf_counter() + SECONDS
        began = time.perf_counter()
        running = [clients.submit(_asking, port, queries[number::CLIENTS], until) for number in range(CLIENTS)]
        taken = [one for client in running for one in client.result()]
        seconds = time.perf_counter() - began
    shown = {f"p{q} ms": round(float(np.percentile(taken, q)), 2) for q in (50, 95, 99)}
    return {"searches": len(taken), "searches/s": round(len(taken) / seconds), **shown}


def _asking(port: int, queries: Sequence[str], until: float) -> list[float]:
    taken = []
    with closing(_Client(port)) as client:
        while True:
            for query in queries:
                began = time.perf_counter()
                if began >= until:
                    return taken
                client.search(query)
                taken.append((time.perf_counter() - began) * 1_000)


if __name__ == "__main__":
    main()
