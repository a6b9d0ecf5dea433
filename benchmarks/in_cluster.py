"""What does encoding inside the cluster cost, over 14,581 passages: a query, a document, and the towers' size?

Encoding a query is the difference between a ``neural`` search by text and a ``knn`` search with the vector ready, asked
in turn over one connection that is kept. No client library is in between.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.harness import read_documents, real_queries, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import Deployment
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.in_cluster import text_pipelines as pipelines
from hybrid_search.in_cluster.deploy import deploy, undeploy
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.streams import in_batches
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.packed import pack_tower
from hybrid_search.types import Document

QUERIES = 500
WARM_UP = 100
WRITTEN = 1_000
WINDOW = 200

Body = Mapping[str, Any]


def main() -> None:
    """Load the passages, deploy the towers, ask 500 real queries, write 1,000 passages as text."""
    arguments = _arguments()
    documents = read_documents("msmarco_passage", "msmarco-passage")
    queries = real_queries(QUERIES)
    with tempfile.TemporaryDirectory() as folder:
        model = untrained_towers(Path(folder) / "model")
        encoder = OnnxEncoder.load(model, threads=1)
        _load(arguments.location, model, encoder, documents)
        packed = pack_tower(model, "query")
        figures: dict[str, Any] = {"passages": len(documents), "queries": QUERIES - WARM_UP}
        figures["zip of the query tower"] = {
            "megabytes": round(len(packed.archive) / 1e6, 1),
            "tokens": encoder.card.vocabulary_size,
            "dimension": encoder.card.tower.embedding_dimension,
        }
        try:
            started = time.perf_counter()
            deployed = deploy(arguments.location, allow_settings=True).outcome.deployment
            figures["deploy, seconds"] = round(time.perf_counter() - started, 1)
            with closing(_Plain(arguments.location)) as server:
                figures |= _searches(server, encoder, queries)
                figures["1,000 passages as text, passages/s"] = _writes(server, arguments.location, deployed, documents)
        finally:
            undeploy(arguments.location)
            OpenSearchEngine.drop(arguments.location)
    write_result("in_cluster", figures, command="python -m benchmarks.in_cluster LOCATION")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("location", help="such as opensearch://127.0.0.1:9200/bench-towers; make opensearch starts one")
    return parser.parse_args()


def _load(location: str, model: Path, encoder: OnnxEncoder, documents: Sequence[Document]) -> None:
    settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension)
    with OpenSearchEngine.create(location, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        for batch in in_batches(documents, 2_000):
            engine.add(batch, encoder.encode_documents([document.searchable_text for document in batch]))
        engine.writer.force_merge(1)


class _Plain:
    """Requests over one connection, and how long each took."""

    def __init__(self, location: str) -> None:
        address = Address.parse(location)
        self._connection = http.client.HTTPConnection(address.host, address.port)
        self.index = address.index

    def send(self, method: str, path: str, body: bytes) -> float:
        started = time.perf_counter()
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status >= 300 or b'"errors":true' in told:
            raise SystemExit(told[:500].decode())
        return time.perf_counter() - started

    def search(self, body: Body) -> float:
        return self.send("POST", f"/{self.index}/_search", msgspec.json.encode(body))

    def close(self) -> None:
        self._connection.close()


def _searches(server: _Plain, encoder: OnnxEncoder, queries: Sequence[str]) -> dict[str, Any]:
    bare = {
        "size": 10,
        "_source": False,
        "stored_fields": "_none_",
        "docvalue_fields": ["id"],
        "track_total_hits": False,
    }
    shown = {"size": 10, "_source": ["title", "text"], "track_total_hits": False}

    def neural(query: str) -> Body:
        return {"neural": {"vector": {"query_text": query, "k": WINDOW}}}

    def knn(query: str) -> Body:
        return {"knn": {"vector": {"vector": encoder.encode_queries([query])[0].tolist(), "k": WINDOW}}}

    def hybrid(query: str) -> Body:
        legs = [{"match": {"searchable": query}}, neural(query)]
        return {"hybrid": {"pagination_depth": WINDOW, "queries": legs}}

    kinds: dict[str, Callable[[str], Body]] = {
        "k-NN, the vector ready": lambda query: {**bare, "query": knn(query)},
        "k-NN by text": lambda query: {**bare, "query": neural(query)},
        "hybrid by text": lambda query: {**bare, "query": hybrid(query)},
        "hybrid by text, with the texts of the hits": lambda query: {**shown, "query": hybrid(query)},
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for query in queries:
        for kind, body in kinds.items():
            taken[kind].append(server.search(body(query)))
    ready, by_text = (np.array(taken[kind][WARM_UP:]) for kind in list(kinds)[:2])
    figures: dict[str, Any] = {f"{kind}, ms": _percentiles(seconds[WARM_UP:]) for kind, seconds in taken.items()}
    # The medians' difference: the differences of pairs hold the noise of two requests each.
    p50 = (np.percentile(by_text, 50) - np.percentile(ready, 50)) * 1_000
    figures["encoding a query in the cluster, ms"] = {"p50": round(float(p50), 3)}
    return figures


def _writes(server: _Plain, location: str, deployed: Deployment, documents: Sequence[Document]) -> dict[str, float]:
    """Send passages as text, in bulk requests of 100, with different numbers of texts a call of the model."""
    rates = {}
    pipeline = pipelines.ingest_pipeline(deployed)
    for size in (1, 4, 8, 32, 100):
        step: dict[str, Any] = next(step for step in pipeline["processors"] if "text_embedding" in step)
        step["text_embedding"]["batch_size"] = size
        with closing(Client(Address.parse(location))) as client:
            pipelines.put(client, pipelines.INGEST, deployed.ingest_pipeline, pipeline)
        started = time.perf_counter()
        for first, last in pairwise(range(0, WRITTEN + 1, 100)):
            lines: list[Any] = []
            for document in documents[first:last]:
                lines += [{"index": {"_id": f"as-text-{size}-{document.id}"}}, {"text": document.text}]
            body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
            server.send("POST", f"/{server.index}/_bulk", body)
        rates[f"{size} texts a call"] = round(WRITTEN / (time.perf_counter() - started), 1)
    return rates


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(seconds, q)) * 1_000, 3) for q in (50, 95, 99)}


if __name__ == "__main__":
    main()
