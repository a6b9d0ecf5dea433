"""How far is a graph to be walked for recall@10 of .95, and what can stand in for the queries, which are not known?

``python -m benchmarks.graph_effort [MODEL]`` encodes 41,751 passages with a model (the general one by default), builds
the graph of ``HNSW32``, and compares three kinds of queries at each effort: real ones, the passages' own vectors, and
mixed ones, by which the engine chooses. Writes ``results/graph_effort.json``; three minutes on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

from benchmarks.harness import passages, real_queries, write_result
from hybrid_search.engines.embedded.search import faiss_index
from hybrid_search.engines.embedded.search.effort import EFFORTS, measured, mixed_queries, recall_of
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located

QUERIES = 1_000
LESS = (16, 32, 64)


def main() -> None:
    """Encode, build, measure each kind of queries at each effort, and time the choice."""
    model = located(Path(sys.argv[1] if len(sys.argv) > 1 else "en"))
    encoder = OnnxEncoder.load(model)
    texts = [document.searchable_text for document in passages()]
    documents = faiss_index.prepared(encoder.encode_documents(texts), encoder.similarity)
    queries = faiss_index.prepared(encoder.encode_queries(real_queries(QUERIES)), encoder.similarity)
    index = faiss_index.build("HNSW32", documents, encoder.similarity)
    kinds = {
        "real queries": queries,
        "passages": documents[:: max(1, len(documents) // 200)],
        "mixed": mixed_queries(index, encoder.similarity),
    }
    table = {
        str(steps): {kind: round(recall_of(index, asked, steps), 4) for kind, asked in kinds.items()}
        for steps in (*LESS, *EFFORTS)
    }
    began = perf_counter()
    chosen = measured(index, encoder.similarity)
    figures = {
        "model": encoder.fingerprint[:12], "vectors": len(documents), "recall@10": table,
        "chosen": chosen.written(), "seconds of choosing": round(perf_counter() - began, 2),
    }  # fmt: skip
    write_result("graph_effort", figures, seed=0, command="python -m benchmarks.graph_effort")


if __name__ == "__main__":
    main()
