"""What do fewer and smaller numbers cost? Size, latency, recall and quality of FAISS factories over the same vectors.

``python -m benchmarks.quantised [MODEL]`` encodes 41,751 passages (TREC DL 2019) and NFCorpus with a model, the general
one by default, and builds each factory, as ``load --faiss`` takes them. Recall@10 is against exact search, of 1,000
real queries; nDCG@10 is of k-NN alone, with judgements. Latencies are of one thread, and compare within a run. Writes
``results/quantised.json`` and the table of docs/studies/quantised.md; five minutes on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, real_queries, write_result
from benchmarks.quality.sets import Judged, test_set
from hybrid_search.engines.embedded.search import faiss_index
from hybrid_search.engines.embedded.search.effort import Effort, measured
from hybrid_search.engines.embedded.search.faiss_index import Allowed
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.types import Ranking

KINDS = (
    "Flat", "SQfp16", "SQ8", "PCA128,Flat", "PCA64,Flat", "PQ32", "HNSW32", "HNSW32,SQ8",
    "IVF256,Flat", "IVF256,SQ8",
)  # fmt: skip
SETS = ("dl19", "nfcorpus")
PAGE = ROOT / "docs" / "studies" / "quantised.md"
QUERIES, TIMED = 1_000, 200

Vectors = NDArray[np.float32]


def main() -> None:
    """Encode once, then build and measure each kind."""
    faiss.omp_set_num_threads(1)
    encoder = OnnxEncoder.load(located(Path(sys.argv[1] if len(sys.argv) > 1 else "en")))
    sets = {name: test_set(name).test for name in SETS}
    encoded = {name: _encoded(encoder, judged) for name, judged in sets.items()}
    asked = faiss_index.prepared(encoder.encode_queries(real_queries(QUERIES)), encoder.similarity)
    documents = encoded["dl19"][0]
    _, nearest = faiss_index.exact(faiss_index.build("Flat", documents, "cosine"), asked, 10, np.arange(len(documents)))
    figures: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        index, told = _built(kind, documents)
        _, found = _searched(index, asked)
        told["recall@10"] = round(float((found[:, :, None] == nearest[:, None, :]).any(2).mean()), 4)
        told["microseconds"] = _timed(index, asked[:TIMED])
        for name, judged in sets.items():
            own = index if name == "dl19" else _built(kind, encoded[name][0])[0]
            told[f"nDCG@10 {name}"] = _quality(own, judged, encoded[name][1])
        figures[kind] = told
        print(kind, told, flush=True)
    figures = {"model": encoder.fingerprint[:12], "vectors": len(documents), "kinds": figures}
    write_result("quantised", figures, seed=0, command="python -m benchmarks.quantised", show=False)
    _write_table(figures["kinds"])


def _encoded(encoder: OnnxEncoder, judged: Judged) -> tuple[Vectors, Vectors]:
    documents = encoder.encode_documents([document.searchable_text for document in judged.documents])
    queries = encoder.encode_queries([query.text for query in judged.queries])
    return tuple(faiss_index.prepared(vectors, encoder.similarity) for vectors in (documents, queries))  # type: ignore[return-value]


def _built(kind: str, vectors: Vectors) -> tuple[Any, dict[str, Any]]:
    began = time.process_time()
    index = faiss_index.build(kind, vectors, "cosine")
    seconds = time.process_time() - began
    return index, {"megabytes": round(len(faiss.serialize_index(index)) / 1e6, 1), "seconds": round(seconds, 1)}


def _searched(index: Any, queries: Vectors, k: int = 10) -> tuple[Vectors, NDArray[np.int64]]:
    effort = measured(index, "cosine") if faiss_index.is_graph(index) else Effort()
    everything = Allowed(np.ones(index.ntotal, bool), None, index.ntotal)
    return faiss_index.search(index, queries, k, everything, effort.steps)


def _timed(index: Any, queries: Vectors) -> int:
    effort = measured(index, "cosine") if faiss_index.is_graph(index) else Effort()
    everything = Allowed(np.ones(index.ntotal, bool), None, index.ntotal)
    taken = []
    for query in queries:
        began = time.perf_counter()
        faiss_index.search(index, query[None], 10, everything, effort.steps)
        taken.append(time.perf_counter() - began)
    return round(float(np.median(taken)) * 1e6)


def _quality(index: Any, judged: Judged, queries: Vectors) -> float:
    values, positions = _searched(index, queries, 100)
    ids = [document.id for document in judged.documents]
    run = {}
    for query, row, scores in zip(judged.queries, positions.tolist(), values.tolist(), strict=True):
        found = [(ids[at], value) for at, value in zip(row, scores, strict=True) if at >= 0]
        run[query.id] = Ranking(tuple(id for id, _ in found), tuple(value for _, value in found))
    return round(means(measure(run, qrels_of(judged.judgements), names=("nDCG@10",)))["nDCG@10"], 4)


def _write_table(kinds: Mapping[str, Mapping[str, Any]]) -> None:
    names: Sequence[str] = ("megabytes", "seconds", "microseconds", "recall@10", *(f"nDCG@10 {name}" for name in SETS))
    lines = [f"| `--faiss` | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| `{kind}` | {' | '.join(str(told[name]) for name in names)} |" for kind, told in kinds.items()]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->\n")
    table = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- table -->\n{table}\n<!-- end of table -->\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
