"""How do latency, size and loading grow with the corpus? Three sizes of one corpus, their searches timed in turn."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import milliseconds_in_turn, passages, real_queries, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder

QUERIES = 250
PARTS = (16, 4, 1)
"""A sixteenth, a fourth and all of the passages."""


def main() -> None:
    """Index each part with a graph; window 200, 10 hits with texts, one query at a time."""
    documents, queries = passages(), real_queries(QUERIES)
    with tempfile.TemporaryDirectory() as folder:
        encoder = OnnxEncoder.load(untrained_towers(Path(folder) / "model"))
        vectors = encoder.encode_documents([document.searchable_text for document in documents])
        settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss="HNSW32")
        rows: list[dict[str, Any]] = []
        retrievers = []
        for part in PARTS:
            engine = EmbeddedEngine.create(Path(folder) / str(part), settings)
            started = time.perf_counter()
            engine.add(documents[::part], vectors[::part])
            engine.commit()
            seconds = time.perf_counter() - started
            retrievers.append(Retriever(encoder, engine, Fusion(window=200)))
            size = sum(retrievers[-1].stats()["bytes"].values()) / 1e6
            number = len(documents[::part])
            rows.append({"passages": number, "documents/s": round(number / seconds), "MB": round(size, 1)})
        calls = [partial(retriever.search, k=10, mode=mode) for retriever in retrievers for mode in MODES]
        timed = iter(milliseconds_in_turn(calls, queries))
        for row in rows:
            row |= {f"{mode} p50 ms": next(timed)["p50"] for mode in MODES}
        for retriever in retrievers:
            retriever.close()
    write_result("growth", {"queries": QUERIES, "growth": rows}, command="python -m benchmarks.growth")


if __name__ == "__main__":
    main()
