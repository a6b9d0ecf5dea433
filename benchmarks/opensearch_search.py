"""How much of a hybrid query's time on a server is ours, over 41,751 passages, and are connections reused?

The wall time of a search is cut in four: waiting, from a request's last byte going out to its answer's last byte
coming in; the client library (opensearch-py and urllib3, and the sending); encoding the query; and the rest of our
code.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import milliseconds, passages, real_queries, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.plan import Request
from hybrid_search.location import Address
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.streams import in_batches
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder

QUERIES = 1_000
WARM_UP = 100


class Wire(threading.local):
    """What went over the network on this thread."""

    waiting = 0.0
    sent_at = 0.0
    in_client = 0.0
    encoding = 0.0
    requests = 0


class MeteredSocket(socket.socket):
    """A socket that times the wait for answers, and is counted when it connects."""

    wire = Wire()
    connections = 0

    def connect(self, address: Any) -> None:
        """Count."""
        MeteredSocket.connections += 1
        super().connect(address)

    def sendall(self, data: Any, *flags: int) -> None:
        """Start the clock."""
        self.wire.sent_at = time.perf_counter()
        super().sendall(data, *flags)

    def recv_into(self, *arguments: Any) -> int:
        """Stop the clock."""
        count = super().recv_into(*arguments)
        now = time.perf_counter()
        # From the last piece sent (headers and body go out apart) to the last piece received.
        self.wire.waiting += now - self.wire.sent_at
        self.wire.sent_at = now
        return count


def _timed(send: Callable[[Client, Request], bytes]) -> Callable[[Client, Request], bytes]:
    def timed(client: Client, request: Request) -> bytes:
        started = time.perf_counter()
        MeteredSocket.wire.requests += 1
        try:
            return send(client, request)
        finally:
            MeteredSocket.wire.in_client += time.perf_counter() - started

    return timed


class MeteredEncoder(OnnxEncoder):
    """Towers that time themselves."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode, and note how long it took."""
        started = time.perf_counter()
        vectors = super().encode_queries(texts)
        MeteredSocket.wire.encoding += time.perf_counter() - started
        return vectors


def main() -> None:
    """Load the passages, and ask 1,000 real queries one at a time, then from 8 threads."""
    arguments = _arguments()
    queries = real_queries(QUERIES)
    if not (arguments.keep and OpenSearchEngine.exists(arguments.location)):
        _load(arguments.location)
    socket.socket = MeteredSocket  # type: ignore[misc]
    Client.send = _timed(Client.send)  # type: ignore[method-assign]
    with OpenSearchEngine.open(arguments.location) as engine:
        stats, model = engine.stats(), engine.model_folder()
        if model is None:
            raise SystemExit(f"{arguments.location} holds no towers; load it anew, without --keep")
        figures: dict[str, Any] = {"passages": stats["documents"], "queries": QUERIES}
        figures |= {name: stats[name] for name in ("server", "segments")}
        encoder = MeteredEncoder.load(model, threads=1)
        retriever = Retriever(encoder, engine, Fusion(window=200))
        before = MeteredSocket.connections
        for mode in ("hybrid", "bm25", "knn"):
            figures[mode] = _measured(retriever, queries, mode)
        figures["hybrid, ids and scores only: wall ms"] = _bare(retriever, queries)
        figures["connections opened by one thread after the first"] = MeteredSocket.connections - before
        figures["8 threads"] = _in_threads(retriever, queries)
        figures["connections opened by 8 threads after the first"] = MeteredSocket.connections - before
    with OpenSearchEngine.open(arguments.location, options=SearchOptions(explain=False)) as engine:
        figures["hybrid, hits without legs"] = _measured(
            Retriever(encoder, engine, Fusion(window=200)), queries, "hybrid"
        )
    figures["encoding a query, ms"] = milliseconds(lambda query: encoder.encode_queries([query]), queries)
    if not arguments.keep:
        OpenSearchEngine.drop(arguments.location)
    write_result("opensearch_search", figures, command="python -m benchmarks.opensearch_search LOCATION")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("location", help="such as opensearch://127.0.0.1:9200/bench-search; make opensearch starts one")
    parser.add_argument("--keep", action="store_true", help="use the index if it is there, and leave it there")
    return parser.parse_args()


def _load(location: str) -> None:
    if OpenSearchEngine.exists(location):
        OpenSearchEngine.drop(location)
    with tempfile.TemporaryDirectory() as folder:
        model = untrained_towers(Path(folder) / "model")
        encoder = OnnxEncoder.load(model)
        settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension)
        with OpenSearchEngine.create(location, settings) as engine:
            engine.store_model([model / name for name in SERVING_FILES])
            for batch in in_batches(passages(), 2_000):
                engine.add(batch, encoder.encode_documents([document.searchable_text for document in batch]))
            engine.commit()
    with closing(Client(Address.parse(location))) as client:
        client.call("POST", f"/{Address.parse(location).index}/_forcemerge", max_num_segments=1, request_timeout=600)


def _measured(retriever: Retriever, queries: Sequence[str], mode: str) -> dict[str, Any]:
    wall, ours, encoding, library, cpu, requests = [], [], [], [], [], []
    wire = MeteredSocket.wire
    for query in queries:
        wire.waiting, wire.in_client, wire.encoding, wire.requests = 0.0, 0.0, 0.0, 0
        busy, started = time.thread_time(), time.perf_counter()
        retriever.search(query, 10, mode=mode)  # type: ignore[arg-type]
        elapsed = time.perf_counter() - started
        wall.append(elapsed)
        ours.append(elapsed - wire.in_client - wire.encoding)
        encoding.append(wire.encoding)
        library.append(wire.in_client - wire.waiting)
        cpu.append(time.thread_time() - busy)
        requests.append(wire.requests)
    return {
        "wall ms": _percentiles(wall[WARM_UP:]),
        "of it our code, ms": _percentiles(ours[WARM_UP:]),
        "of it encoding, ms": _percentiles(encoding[WARM_UP:]),
        "of it the client library, ms": _percentiles(library[WARM_UP:]),
        "processor time of the process, ms": _percentiles(cpu[WARM_UP:]),
        "requests a query": statistics.mean(requests),
    }


def _bare(retriever: Retriever, queries: Sequence[str]) -> dict[str, float]:
    """Ask as an evaluation does: ids and scores only."""
    taken = []
    for query in queries:
        started = time.perf_counter()
        retriever.rankings([query], 10)
        taken.append(time.perf_counter() - started)
    return _percentiles(taken[WARM_UP:])


def _in_threads(retriever: Retriever, queries: Sequence[str]) -> dict[str, float]:
    started = time.perf_counter()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(partial(retriever.search, k=10), queries))
    return {"queries/s": round(len(queries) / (time.perf_counter() - started), 1)}


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(seconds, q)) * 1_000, 3) for q in (50, 95, 99)}


if __name__ == "__main__":
    main()
