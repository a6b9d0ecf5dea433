"""The field's claims: mean or recurrent, tied or separate, frozen or fine-tuned, which loss, negatives, labels.

``python -m benchmarks.claims [--work FOLDER] [--seeds 0,1,2] [--arms NAME,NAME]`` trains every arm of
:mod:`benchmarks.claims.arms` with every seed and writes ``results/claims.json`` after each; what is in the file is not
trained again. Measured is nDCG@10 of the towers alone, exact, on the queries to fit on of NFCorpus (324) and SQuAD
(2,160, no text of whose titles was seen). Then ``docs/studies/claims.md`` gets its tables.
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.claims.arms import ARMS, BASE, Arm
from benchmarks.claims.data import Prepared
from benchmarks.claims.tables import write_tables
from benchmarks.harness import RESULTS, ROOT, write_result
from benchmarks.quality.measuring import dense_leg
from benchmarks.quality.sets import TestSet, test_set
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.towers.two_tower import TwoTower, seeded_towers
from hybrid_search.training.loop import train_towers
from hybrid_search.training.mining import Search
from hybrid_search.training.rows import Int32, pad
from hybrid_search.training.tracking import JsonlTracker
from hybrid_search.types import Document, Ranking

NAMES = ("nfcorpus", "squad")
FILE = RESULTS / "claims.json"
COMMAND = "python -m benchmarks.claims"
_BATCH = 128
_LEVELS = 250

Vectors = NDArray[np.float32]


def main() -> None:
    """Run what is missing."""
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    runs = json.loads(FILE.read_text())["figures"]["runs"] if FILE.exists() else {}
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    names = arguments.arms.split(",") if arguments.arms else list(ARMS)
    missing = [(name, seed) for seed in seeds for name in names if f"{name} {seed}" not in runs]
    with tempfile.TemporaryDirectory() as folder:
        if missing:
            work = Path(arguments.work or folder)
            prepared, sets = Prepared(work), [test_set(name) for name in NAMES]
        for name, seed in missing:
            runs[f"{name} {seed}"] = figures = _run(ARMS[name], seed, prepared, sets)
            write_result("claims", {"runs": runs}, command=COMMAND, show=False)
            print(name, seed, {key: value for key, value in figures.items() if key != "values"}, flush=True)
    write_tables(runs, ROOT / "docs" / "studies" / "claims.md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default="", help="all by default")
    parser.add_argument("--work", default="", help="where word vectors and negatives are kept between runs")
    return parser


def _run(arm: Arm, seed: int, prepared: Prepared, sets: Sequence[TestSet]) -> dict[str, Any]:
    """Train one arm with one seed and measure it."""
    search = _search(_trained(ARMS[BASE], seed, prepared, None)[0], prepared) if arm.refreshed else None
    towers, taken = _trained(arm, seed, prepared, search)
    by_set = {data.name: _values(towers, data, prepared) for data in sets}
    return {
        "steps": taken["steps"],
        "processor_seconds": taken["processor_seconds"],
        "nDCG@10": {name: round(float(values.mean()), 4) for name, values in by_set.items()},
        "values": {name: _packed(values) for name, values in by_set.items()},
    }


def _trained(arm: Arm, seed: int, prepared: Prepared, search: Search | None) -> tuple[TwoTower, dict[str, Any]]:
    towers_config, config = arm.settings(seed)
    towers = seeded_towers(
        towers_config,
        prepared.vocabulary.tokenizer.vocabulary_size,
        vectors=prepared.word_vectors(arm.start, seed),
        counts=prepared.vocabulary.word_vectors.counts,
        seed=seed,
    )
    data = prepared.training_data(arm, seed, search)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        tracker = JsonlTracker(Path(folder) / "log.jsonl")
        report = train_towers(towers, data, config, work=Path(folder), tracker=tracker)
        tracker.close()
    towers.eval()
    return towers, {"steps": report.steps, "processor_seconds": round(time.process_time() - started, 1)}


def _values(towers: TwoTower, data: TestSet, prepared: Prepared) -> NDArray[np.float64]:
    """Measure nDCG@10 of each query to fit on, in the order of their ids."""
    run = dense_leg(data.fit, *_encoders(towers, prepared))
    by_query = measure(run, qrels_of(data.fit.judgements), names=("nDCG@10",))["nDCG@10"]
    return np.array([by_query[query] for query in sorted(by_query)])


def _encoders(towers: TwoTower, prepared: Prepared) -> tuple[Callable[[Sequence[str]], Vectors], ...]:
    def encoder(
        tokens: Callable[[Sequence[str]], Sequence[Int32]], encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> Callable[[Sequence[str]], Vectors]:
        def encoded(texts: Sequence[str]) -> Vectors:
            rows = tokens(texts)
            order = np.argsort([len(row) for row in rows], kind="stable")
            vectors = np.zeros((len(texts), towers.config.dimension), np.float32)
            with torch.inference_mode():
                for at in range(0, len(order), _BATCH):
                    part = order[at : at + _BATCH]
                    vectors[part] = encode(pad([rows[i] for i in part])).numpy()
            return vectors

        return encoded

    tokens = prepared.tokens
    return encoder(tokens.queries, towers.encode_queries), encoder(tokens.documents, towers.encode_documents)


def _search(towers: TwoTower, prepared: Prepared) -> Search:
    """Rank the corpus by the towers."""
    queries, documents = _encoders(towers, prepared)
    corpus: list[Document] = prepared.documents()
    matrix = documents([document.searchable_text for document in corpus])

    def search(texts: Sequence[str], k: int) -> list[Ranking]:
        scores = queries(texts) @ matrix.T
        best = np.argsort(-scores, axis=1)[:, :k]
        return [
            Ranking(tuple(corpus[i].id for i in row), tuple(float(line[i]) for i in row))
            for row, line in zip(best, scores, strict=True)
        ]

    return search


def _packed(values: NDArray[np.float64]) -> str:
    """Pack the values of a run, rounded to a 250th, for the paired intervals."""
    return base64.b64encode(zlib.compress(np.round(values * _LEVELS).astype(np.uint8).tobytes(), 9)).decode()


if __name__ == "__main__":
    main()
