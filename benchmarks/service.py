"""How many searches a second does the HTTP service answer for 16 clients, and what does HTTP add to one search?

Also the time from the last key to the first hit on the page, and of a search by an assistant. ``--short`` tries all of
it on few passages, and writes nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from mcp import StdioServerParameters
from mcp.client import Client as Assistant
from playwright.sync_api import sync_playwright

from benchmarks.harness import ROOT, milliseconds, passages, real_queries, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder

CLIENTS = 16
WORKERS = (1, 2)
MANY_THREADS = 4
"""Threads of each of two processes, to compare with their own number, which is 2 on two cores."""
FIRST_HIT = """async (query) => {
  const field = document.getElementById("query"), results = document.getElementById("results");
  results.replaceChildren();
  const shown = new Promise((resolve) => new MutationObserver((_, watch) => {
    if (results.querySelector(".hit")) { watch.disconnect(); resolve(performance.now()); }
  }).observe(results, { childList: true, subtree: true }));
  field.value = query;
  const pressed = performance.now();
  field.dispatchEvent(new Event("input", { bubbles: true }));
  return await shown - pressed;
}"""
"""Types a query's last key; the milliseconds until a hit is on the page, the page's own wait of 60 ms included."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    passages: int
    queries: int
    seconds: float
    shown: int


WHOLE, SHORT = Size(41_751, 1_000, 10.0, 100), Size(1_000, 50, 1.0, 5)


def main() -> None:
    """Index 41,751 passages, then ask one query at a time in the library and over HTTP, then 16 clients at once."""
    size = SHORT if "--short" in sys.argv[1:] else WHOLE
    queries = real_queries(size.queries)
    with tempfile.TemporaryDirectory() as folder:
        index = _index(Path(folder), size)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as backend:
            library = backend.submit(_in_library, index, queries).result()
        figures: dict[str, object] = {"passages": size.passages, "library ms": library}
        for workers in WORKERS:
            with _served(index, workers) as (process, port, ready):
                alone = milliseconds(_Client(port).search, queries)
                used = _processor_seconds(process.pid)
                many = _many(port, queries, size.seconds)
                used = _processor_seconds(process.pid) - used
                if workers == 1:
                    figures["page, last key to first hit ms"] = _on_the_page(port, queries[: size.shown])
            figures[f"workers {workers}"] = {
                "ready after s": ready,
                "one client ms": alone,
                "added to the library p50 ms": round(alone["p50"] - library["p50"], 3),
                f"{CLIENTS} clients": many,
                # What other programs on the machine do changes this little.
                "processor ms a search": round(used / many["searches"] * 1_000, 3),
            }
        with _served(index, WORKERS[-1], "--threads", str(MANY_THREADS)) as (_, port, _):
            figures[f"workers {WORKERS[-1]}, threads {MANY_THREADS}"] = _many(port, queries, size.seconds)
        figures["MCP search ms"] = asyncio.run(_by_an_assistant(index, queries[: 2 * size.shown]))
    if size is WHOLE:
        write_result("service", figures, command="python -m benchmarks.service")
    else:
        print(json.dumps(figures, indent=2))


def _index(folder: Path, size: Size) -> Path:
    documents, model = passages()[: size.passages], untrained_towers(folder / "model")
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
def _served(index: Path, workers: int, *more: str) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "hybrid_search",
        "serve",
        str(index),
        "--port",
        "0",
        "--workers",
        str(workers),
        *more,
    ]
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


def _many(port: int, queries: Sequence[str], lasting: float) -> dict[str, float]:
    """Let 16 clients ask for a while, each its next query when it has its answer."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        until = time.perf_counter() + lasting
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


def _on_the_page(port: int, queries: Sequence[str]) -> dict[str, float]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_function("document.getElementById('about').textContent.includes('documents')")
        taken = [page.evaluate(FIRST_HIT, query) for query in queries][len(queries) // 10 :]
        browser.close()
    return {f"p{q}": round(float(np.percentile(taken, q)), 2) for q in (50, 95)}


async def _by_an_assistant(index: Path, queries: Sequence[str]) -> dict[str, float]:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "hybrid_search", "mcp", str(index)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    taken = []
    async with Assistant(server) as assistant:
        for query in queries:
            began = time.perf_counter()
            await assistant.call_tool("search", {"query": query, "k": 10})
            taken.append((time.perf_counter() - began) * 1_000)
    return {f"p{q}": round(float(np.percentile(taken[len(taken) // 10 :], q)), 2) for q in (50, 95)}


if __name__ == "__main__":
    main()
