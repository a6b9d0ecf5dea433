"""How much processor time does a search take, with and without filters? Told apart from what else the machine does.

``python -m benchmarks.processor_time`` indexes 41,751 passages (``en``) with the default k-NN and with a graph, and
searches with 400 real queries, window 200, 10 hits with their texts, one at a time. Figures are microseconds of
processor time of all threads, medians, which a busy machine hardly changes; the first query with a filter, whose rows
are not known yet, is told by itself. Writes ``results/processor_time.json``; three minutes on one core.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import passages, real_queries, write_result
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located

QUERIES, WARM = 400, 50
KINDS = ("auto", "HNSW32")
SHARES = (0.01, 0.05, 0.1, 0.5, 0.98)
"""Of the passages, that pass a filter."""


def main() -> None:
    """Encode once, then index and search with each kind."""
    encoder = OnnxEncoder.load(located(Path("en")))
    documents = [replace(document, metadata={"number": number}) for number, document in enumerate(passages())]
    vectors = encoder.encode_documents([document.searchable_text for document in documents])
    queries = real_queries(QUERIES + WARM)
    figures: dict[str, Any] = {"passages": len(documents), "queries": QUERIES, "model": encoder.fingerprint[:12]}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss=kind)
            with EmbeddedEngine.create(Path(folder) / kind, settings) as engine:
                engine.add(documents, vectors)
                engine.commit()
            with EmbeddedEngine.open(Path(folder) / kind) as engine:
                retriever = Retriever(encoder, engine, Fusion(window=200))
                figures[kind] = {"k-NN index": engine.stats()["dense"]["kind"]} | _taken(retriever, queries)
    write_result("processor_time", figures, command="python -m benchmarks.processor_time")


def _taken(retriever: Retriever, queries: list[str]) -> dict[str, int]:
    told = {mode: _median(partial(retriever.search, k=10, mode=mode), queries) for mode in ("hybrid", "bm25", "knn")}
    for share in SHARES:
        filter = f"number < {round(share * retriever.count())}"
        filtered = partial(retriever.search, k=10, filter=filter)
        told[f"filter {share}, first"] = _once(filtered, queries[0])
        told[f"filter {share}"] = _median(filtered, queries)
    return told


def _median(search: Callable[[str], object], queries: list[str]) -> int:
    for query in queries[:WARM]:
        search(query)
    return round(float(np.median([_once(search, query) for query in queries[WARM:]])))


def _once(search: Callable[[str], object], query: str) -> int:
    began = time.process_time()
    search(query)
    return round((time.process_time() - began) * 1e6)


if __name__ == "__main__":
    main()
