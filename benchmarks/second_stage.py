"""What does a second stage gain, and what does it cost? A cross-encoder beside a dual encoder of the same size.

``python -m benchmarks.second_stage FOLDER choose``, then ``gain`` and ``cost``, each with sets (``dl19``, ``nfcorpus``)
after it or for both; every call adds to ``results/second_stage.json``, which ``docs/reranking.md`` reads. FOLDER has
what ``benchmarks.cross_encoder`` trained, and keeps indexes and scores, so that a call that was killed goes on.

The first stage is the hybrid of ``en``. Two models of one network, six layers of 384, rank its first hits again:
all-MiniLM-L6-v2 as it is, by the cosine of what it makes of query and hit apart, and the cross-encoder that was trained
from its weights. Which state of its training and which depth is chosen on queries to fit on, and measured on the
test's. Scores are made in bfloat16 (cross-encoder) and in 8 bits (dual encoder), times in what a search uses: float32.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cross_encoder import KEPT, STEPS, TEACHER
from benchmarks.harness import RESULTS, write_result
from benchmarks.quality.sets import Judged, test_set
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import Qrels, measure, qrels_of
from hybrid_search.evaluation.significance import Comparison, compare
from hybrid_search.protocols import Reranker
from hybrid_search.retrieval.reranking import CrossEncoderReranker
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.teacher.model import TransformerTeacher
from hybrid_search.types import Hit, Query, Ranking

WEIGHTS = {"dl19": 0.45, "nfcorpus": 0.65}
"""BM25's, as ``load`` chooses them (docs/en.md)."""

DEPTHS = (10, 20, 50)
FIT_QUERIES = 60
TIMED, WARM_UP = 20, 2

Values = dict[str, float]


def main() -> None:
    """Do a part of it."""
    folder, part, *names = sys.argv[1:]
    torch.set_num_threads(1)
    file = RESULTS / "second_stage.json"
    figures: dict[str, Any] = json.loads(file.read_text())["figures"] if file.exists() else {}
    for name in names or WEIGHTS:
        of_set = figures.setdefault(name, {})
        if part == "choose":
            of_set["on queries to fit on"] = _choices(Path(folder), name)
        else:
            chosen = Path(folder) / str(_state(figures))
            of_set[part] = {"gain": _gain, "cost": _cost}[part](Path(folder), name, chosen)
        write_result("second_stage", figures, command="python -m benchmarks.second_stage FOLDER choose; … gain; … cost")


class DualEncoder:
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


class Kept:
    """A reranker whose scores are kept in a file; in bfloat16."""

    def __init__(self, model: Path, file: Path) -> None:
        self._rerank = CrossEncoderReranker(model, device="cpu")
        self._file = file
        self._known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def __call__(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """Score hits."""
        keys = [f"{query}\t{hit.id}" for hit in hits]
        if missing := [place for place, key in enumerate(keys) if key not in self._known]:
            with torch.autocast("cpu", torch.bfloat16):
                scores = self._rerank(query, [hits[place] for place in missing])
            self._known.update((keys[place], float(score)) for place, score in zip(missing, scores, strict=True))
            self._file.write_text(json.dumps(self._known))
        return [self._known[key] for key in keys]


def _choices(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Measure each state at each depth on some of the queries to fit on: means of nDCG@10."""
    judged = test_set(name).fit
    qrels = qrels_of(judged.judgements)
    asked = random.Random(0).sample([query for query in judged.queries if query.id in qrels.grades], FIT_QUERIES)
    found = {}
    with _opened(folder / f"{name} to fit on", judged, name) as retriever:
        found["hybrid"] = {"none": _mean(_values(retriever, asked, qrels, None))}
        for part in range(1, KEPT + 1):
            state = str(STEPS * part // KEPT)
            rerank = Kept(folder / state, folder / f"scores {name} fit {state}.json")
            stages = {str(depth): SecondStage(depth, rerank) for depth in reversed(DEPTHS)}
            found[state] = {key: _mean(_values(retriever, asked, qrels, stage)) for key, stage in stages.items()}
    return found


def _state(figures: dict[str, Any]) -> int:
    """Return the state of the training with the highest mean over sets and depths."""
    on_fit = [of_set["on queries to fit on"] for of_set in figures.values()]
    return max(
        (int(one) for one in on_fit[0] if one != "hybrid"), key=lambda s: sum(sum(f[str(s)].values()) for f in on_fit)
    )


def _gain(folder: Path, name: str, model: Path) -> dict[str, Any]:
    """Measure both models on the test's queries, against the first stage and against one another."""
    judged = test_set(name).test
    qrels = qrels_of(judged.judgements)
    asked = [query for query in judged.queries if query.id in qrels.grades]
    rerankers: dict[str, Reranker] = {
        "dual encoder": DualEncoder(),
        "cross-encoder": Kept(model, folder / f"scores {name} test {model.name}.json"),
    }
    with _opened(folder / name, judged, name) as retriever:
        values = {"hybrid": _values(retriever, asked, qrels, None)}
        for depth in reversed(DEPTHS):
            for kind, rerank in rerankers.items():
                values[f"{kind}, first {depth}"] = _values(retriever, asked, qrels, SecondStage(depth, rerank))
    figures: dict[str, Any] = {"state": int(model.name), "queries": len(asked)}
    against = compare(values, baseline="hybrid")
    figures["against no second stage"] = {system: _shown(one) for system, one in against.items()}
    figures["cross-encoder against dual encoder"] = {
        depth: _shown(compare(pair, baseline="dual encoder")["cross-encoder"])
        for depth in DEPTHS
        for pair in [{kind: values[f"{kind}, first {depth}"] for kind in rerankers}]
    }
    return figures


def _values(retriever: Retriever, asked: Sequence[Query], qrels: Qrels, stage: SecondStage | None) -> Values:
    run: dict[str, Ranking] = {}
    for query in asked:
        [run[query.id]] = retriever.rankings([query.text], 10, second=stage)
    return dict(measure(run, qrels, names=("nDCG@10",))["nDCG@10"])


def _mean(values: Values) -> float:
    return round(sum(values.values()) / len(values), 4)


def _shown(one: Comparison) -> dict[str, Any]:
    low, high = one.difference_interval or (0.0, 0.0)
    return {
        "nDCG@10": round(one.mean, 4),
        "difference": round(one.difference, 4),
        "interval": [round(low, 4), round(high, 4)],
        "p": round(one.p_value, 4),
        "wins and losses": [one.wins, one.losses],
    }


def _cost(folder: Path, name: str, model: Path) -> dict[str, Any]:
    """Time single searches of one thread: milliseconds of processor time and of the clock, the median."""
    judged = test_set(name).test
    texts = [query.text for query in judged.queries[: TIMED + WARM_UP]]
    teacher, cross = TransformerTeacher(TEACHER), CrossEncoderReranker(model, device="cpu")
    with _opened(folder / name, judged, name) as retriever:
        calls: dict[str, Any] = {"no second stage": lambda text: retriever.search(text, 10)}
        for depth in DEPTHS:
            calls[f"cross-encoder, first {depth}"] = lambda text, depth=depth: retriever.search(
                text, 10, rerank=cross, rerank_depth=depth
            )
        calls["dual encoder: its vector of the query"] = lambda text: teacher.encode([text])
        return {what: _timed(call, texts) for what, call in calls.items()}


def _timed(call: Any, texts: Sequence[str]) -> dict[str, float]:
    taken = []
    for text in texts:
        clock, busy = time.perf_counter(), time.process_time()
        call(text)
        taken.append((time.perf_counter() - clock, time.process_time() - busy))
    wall, processor = np.median(np.array(taken[WARM_UP:]), axis=0) * 1_000
    return {"p50 ms": round(float(wall), 1), "processor ms": round(float(processor), 1)}


@contextmanager
def _opened(folder: Path, judged: Judged, name: str) -> Iterator[Retriever]:
    """Open the set's index, which is made by the first call."""
    encoder = OnnxEncoder.load(located(Path("en")), threads=1)
    settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss="Flat")
    engine = EmbeddedEngine.create(folder, settings, exist_ok=True)
    with Retriever(encoder, engine, Fusion(weights=(WEIGHTS[name], round(1 - WEIGHTS[name], 12)))) as retriever:
        if engine.count() != len(judged.documents):
            retriever.add(judged.documents)
        yield retriever


if __name__ == "__main__":
    main()
