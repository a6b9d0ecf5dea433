"""How long does a hybrid query take on 41,751 passages: encoding, both legs, fusion, texts?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.harness import ROOT, milliseconds, passages, real_queries, write_result
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder

QUERIES = 1_000


def main() -> None:
    """Index the passages once per FAISS kind and BM25 setting; window 200, 10 hits with texts, one query at a time."""
    documents, queries = passages(), real_queries(QUERIES)
    figures: dict[str, object] = {"passages": len(documents), "queries": QUERIES}
    with tempfile.TemporaryDirectory() as folder:
        encoder = OnnxEncoder.load(untrained_towers(Path(folder) / "model"))
        vectors = encoder.encode_documents([document.searchable_text for document in documents])
        for faiss, bm25 in (("HNSW32", Bm25()), ("Flat", Bm25()), ("HNSW32", Bm25(k1=0.9, b=0.4))):
            settings = IndexSettings(
                fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss=faiss, bm25=bm25
            )
            name = f"{faiss}, k1 {bm25.k1}, b {bm25.b}"
            index = Path(folder) / name.replace(" ", "")
            with EmbeddedEngine.create(index, settings) as engine:
                started = time.perf_counter()
                engine.add(documents, vectors)
                engine.commit()
                rate = len(documents) / (time.perf_counter() - started)
            figures[f"{name}: indexed documents/s (vectors given)"] = round(rate)
            # As in a backend: in a process that holds neither the corpus nor torch.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as backend:
                timed = backend.submit(_latencies, index, Path(folder) / "model", queries).result()
            figures |= {f"{name}: {mode} ms": latency for mode, latency in timed.items()}
    write_result("search", figures, command="python -m benchmarks.search")


def _latencies(index: Path, model: Path, queries: list[str]) -> dict[str, dict[str, float]]:
    with EmbeddedEngine.open(index) as engine:
        retriever = Retriever(OnnxEncoder.load(model), engine, Fusion(window=200))
        return {
            mode: milliseconds(partial(retriever.search, k=10, mode=mode), queries)
            for mode in ("hybrid", "bm25", "knn")
        }


def untrained_towers(folder: Path) -> Path:
    """Make the towers in a process of their own: a backend that searches has no torch loaded."""
    code = (
        "import sys; from pathlib import Path; from benchmarks.encoding import untrained_model; "
        "from benchmarks.harness import passages; "
        "untrained_model(Path(sys.argv[1]), [document.text for document in passages()])"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=ROOT)
    return folder


if __name__ == "__main__":
    main()
