"""Trains an arm and measures its towers."""

from __future__ import annotations

import base64
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.claims.arms import BASE_ARM, Arm
from benchmarks.claims.data import Prepared, Words
from benchmarks.quality.measuring import dense_leg, fused, lexical_legs
from benchmarks.quality.sets import TestSet
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.settings.index import Fusion
from hybrid_search.towers.networks.two_tower import TwoTower, seeded_towers
from hybrid_search.training.data.rows import Int32, pad
from hybrid_search.training.loop.loop import train_towers
from hybrid_search.training.negatives.miner import Search
from hybrid_search.training.tracking import JsonlTracker
from hybrid_search.types import Document, Ranking

__all__ = ["LEVELS", "Trainer"]

LEVELS = 250
"""A query's value is kept as so many steps from 0 to 1."""

_BATCH = 128
_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Of the k-NN leg."""

Vectors = NDArray[np.float32]


class Trainer:
    """Trains one arm after another; one that only cuts the vectors of the arm before is not trained again."""

    def __init__(self, prepared: Prepared, sets: Sequence[TestSet]) -> None:
        self._prepared, self._sets = prepared, sets
        self._bm25: dict[str, Mapping[str, Ranking]] = {}
        self._last: tuple[Arm, int, TwoTower, dict[str, Any]] | None = None

    def run(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Train one arm with one seed and measure it."""
        towers, taken = self._trained(arm, seed)
        words = self._prepared.words(arm)
        runs = {data.name: dense_leg(data.fit, *_encoders(towers, words, arm.cut)) for data in self._sets}
        by_set = {data.name: _values(data, runs[data.name]) for data in self._sets}
        hybrids = {data.name: round(self._hybrid(data, runs[data.name]), 4) for data in self._sets if arm.hybrid}
        return {
            **({"hybrid nDCG@10": hybrids} if hybrids else {}),
            "steps": taken["steps"],
            "processor_seconds": taken["processor_seconds"],
            "nDCG@10": {name: round(float(values.mean()), 4) for name, values in by_set.items()},
            "values": {name: _packed(values) for name, values in by_set.items()},
        }

    def _hybrid(self, data: TestSet, dense: Mapping[str, Ranking]) -> float:
        """Measure the fusion with BM25 on the queries to fit on, with whichever weight is best for them."""
        if data.name not in self._bm25:
            self._bm25[data.name] = lexical_legs(data).fit
        qrels = qrels_of(data.fit.judgements)
        return max(
            float(np.mean(list(measure(run, qrels, names=("nDCG@10",))["nDCG@10"].values())))
            for weight in _WEIGHTS
            for run in [fused(self._bm25[data.name], dense, Fusion(weights=(1 - weight, weight)))]
        )

    def _trained(self, arm: Arm, seed: int) -> tuple[TwoTower, dict[str, Any]]:
        uncut = replace(arm, question="", about="", cut=0)
        if self._last is None or self._last[:2] != (uncut, seed):
            search = self._search(seed) if arm.refreshed else None
            self._last = (uncut, seed, *_train(arm, seed, self._prepared, search))
        return self._last[2:]

    def _search(self, seed: int) -> Search:
        """Rank the corpus by the towers of the base."""
        towers, _ = _train(BASE_ARM, seed, self._prepared, None)
        queries, documents = _encoders(towers, self._prepared.words(BASE_ARM))
        corpus: list[Document] = self._prepared.documents()
        matrix = documents([document.searchable_text for document in corpus])

        def search(texts: Sequence[str], k: int) -> list[Ranking]:
            scores = queries(texts) @ matrix.T
            best = np.argsort(-scores, axis=1)[:, :k]
            return [
                Ranking(tuple(corpus[i].id for i in row), tuple(float(line[i]) for i in row))
                for row, line in zip(best, scores, strict=True)
            ]

        return search


def _train(arm: Arm, seed: int, prepared: Prepared, search: Search | None) -> tuple[TwoTower, dict[str, Any]]:
    towers_config, config = arm.settings(seed)
    words = prepared.words(arm)
    towers = seeded_towers(
        towers_config,
        words.vocabulary.tokenizer.vocabulary_size,
        vectors=words.vectors(arm.start, seed),
        counts=words.vocabulary.word_vectors.counts,
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


def _values(data: TestSet, run: Mapping[str, Ranking]) -> NDArray[np.float64]:
    """Measure nDCG@10 of each query to fit on, in the order of their ids."""
    by_query = measure(run, qrels_of(data.fit.judgements), names=("nDCG@10",))["nDCG@10"]
    return np.array([by_query[query] for query in sorted(by_query)])


def _encoders(
    towers: TwoTower, words: Words, cut: int = 0
) -> tuple[Callable[[Sequence[str]], Vectors], Callable[[Sequence[str]], Vectors]]:
    """Return what encodes queries and what encodes documents; the vectors' first ``cut`` numbers, of unit length."""

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
            if not cut:
                return vectors
            first = vectors[:, :cut]
            return first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)

        return encoded

    tokens = words.tokens
    return encoder(tokens.queries, towers.encode_queries), encoder(tokens.documents, towers.encode_documents)


def _packed(values: NDArray[np.float64]) -> str:
    """Pack the values of a run, rounded to a 250th, for the paired intervals."""
    return base64.b64encode(zlib.compress(np.round(values * LEVELS).astype(np.uint8).tobytes(), 9)).decode()
