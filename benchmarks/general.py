"""What is a model worth on collections that it has not seen, with nothing trained and nothing judged to tune by?

``python -m benchmarks.general MODEL [SET ...]`` measures a checkpoint, or a model that comes with the package, on the
three test sets of the quality protocol and on WikiQA: BM25 with its defaults, k-NN, and the hybrid with the weights
that ``load`` chooses by queries made of the documents. Also what shuffling the words of all texts costs, and how long
encoding takes. Writes ``results/general_NAME.json``; a quarter of an hour on one core. Where sets are named, these
alone are measured again, and the others' figures, of the same model, stay.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS, write_result
from benchmarks.quality.measuring import Run, Vectors, fused, ranked
from benchmarks.quality.sets import NAMES, Judged, test_set
from benchmarks.without_labels import small_sets
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.protocols import silent
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.fit.made import fit_on_made_queries, sampling
from hybrid_search.types import Document, Ranking

MEASURES = ("nDCG@10", "R@100")
WORDS, TEXTS = 80, 1_000
QUERY_WORDS = 6


def main() -> None:
    """Measure the model named."""
    folder = located(Path(sys.argv[1]))
    encoder = OnnxEncoder.load(folder, threads=1)
    sets: dict[str, Judged] = {name: test_set(name).test for name in NAMES}
    sets["wikiqa"] = small_sets()["wikiqa"]
    figures: dict[str, Any] = {"fingerprint": encoder.fingerprint, "megabytes": _megabytes(folder)}
    if wanted := sys.argv[2:]:
        figures = json.loads((RESULTS / f"general_{folder.name}.json").read_text())["figures"]
        if figures["fingerprint"] != encoder.fingerprint:
            raise SystemExit("the figures are those of another model; measure all sets")
    else:
        figures["speed"] = _speed(encoder, sets["dl19"])
    for name in wanted or sets:
        figures[name] = _measured(sets[name], encoder)
        print(name, figures[name], flush=True)
    command = " ".join(["python -m benchmarks.general", folder.name, *wanted])
    write_result(f"general_{folder.name}", figures, seed=0, command=command)


def _measured(judged: Judged, encoder: OnnxEncoder) -> dict[str, Any]:
    kept: list[Document] = []
    deque(sampling(judged.documents, kept), maxlen=0)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint)
    fit = fit_on_made_queries(kept, encoder, settings, silent)
    fusion = fit.fusion if fit else Fusion(weights=(0.7, 0.3))
    bm25 = _bm25(judged)
    knn, shuffled = _dense(judged, encoder, _as_it_is), _dense(judged, encoder, _shuffled(random.Random(0)))
    runs = {"bm25": bm25, "knn": knn, "hybrid": fused(bm25, knn, fusion), "knn, words shuffled": shuffled}
    qrels = qrels_of(judged.judgements)
    table = {system: measure(run, qrels, names=MEASURES) for system, run in runs.items()}
    against = compare({name: table[name]["nDCG@10"] for name in ("bm25", "hybrid")})["hybrid"]
    best = max(range(21), key=lambda step: _mean(fused(bm25, knn, _weighted(step)), qrels))
    return {
        **{
            system: {name: round(value, 4) for name, value in means(values).items()} for system, values in table.items()
        },
        "documents": len(judged.documents),
        "queries": len(judged.queries),
        "bm25_weight": fusion.weights[0],
        "best_weight_there_is": [best / 20, round(_mean(fused(bm25, knn, _weighted(best)), qrels), 4)],
        "hybrid_less_bm25": [round(against.difference, 4), round(against.p_value, 4), against.wins, against.losses],
    }


def _weighted(step: int) -> Fusion:
    return Fusion(weights=(step / 20, round(1 - step / 20, 12)))


def _mean(run: Run, qrels: Any) -> float:
    return means(measure(run, qrels, names=("nDCG@10",)))["nDCG@10"]


def _bm25(judged: Judged) -> dict[str, Ranking]:
    with tempfile.TemporaryDirectory() as home, EmbeddedEngine.create(Path(home) / "index", IndexSettings()) as engine:
        engine.add(judged.documents, None)
        engine.commit()
        rankings = engine.rank(Search.of([query.text for query in judged.queries], Fusion().window, "bm25"))
    return dict(zip([query.id for query in judged.queries], rankings, strict=True))


def _dense(judged: Judged, encoder: OnnxEncoder, change: Callable[[str], str]) -> dict[str, Ranking]:
    documents = encoder.encode_documents([change(document.searchable_text) for document in judged.documents])
    queries = encoder.encode_queries([change(query.text) for query in judged.queries])
    return ranked(judged, queries, documents)


def _as_it_is(text: str) -> str:
    return text


def _shuffled(draw: random.Random) -> Callable[[str], str]:
    def shuffled(text: str) -> str:
        words = text.split()
        draw.shuffle(words)
        return " ".join(words)

    return shuffled


def _speed(encoder: OnnxEncoder, judged: Judged) -> dict[str, float]:
    """Time one core: documents of 80 words a processor second, and the median microseconds of a query."""
    words = [document.text.split() for document in judged.documents]
    texts = [" ".join(some[:WORDS]) for some in words if len(some) >= WORDS][:TEXTS]
    encoder.encode_documents(texts[:50])
    began = time.process_time()
    encoder.encode_documents(texts)
    seconds = time.process_time() - began
    queries = [" ".join(text.split()[:QUERY_WORDS]) for text in texts]
    times = [_timed(encoder.encode_queries, [query]) for query in queries]
    return {
        "documents_a_second": round(len(texts) / seconds, 1),
        "query_microseconds": round(float(np.median(times)) * 1e6, 1),
    }


def _timed(encode: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> float:
    began = time.perf_counter()
    encode(texts)
    return time.perf_counter() - began


def _megabytes(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 2)


if __name__ == "__main__":
    main()
