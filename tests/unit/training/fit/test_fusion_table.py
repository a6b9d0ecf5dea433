"""Many fusions of the same legs at once: each value is that of `fuse` and `measure` for this fusion alone."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.fusion import bm25_alone, fuse
from hybrid_search.settings.index import Combination, Fusion, Normalisation
from hybrid_search.training.fit.table import FusionTable, weighted
from hybrid_search.types import Judgement, Ranking

QUERIES = 12
FUSIONS = [
    Fusion(method=method, combination=combination, window=window, rank_constant=constant)
    for method, combination in itertools.product(get_args(Normalisation), get_args(Combination))
    if method != "z_score" or combination == "arithmetic"
    for window, constant in ((5, 1), (40, 60))
]


def drawn(generator: np.random.Generator, ids: np.ndarray, size: int) -> Ranking:
    """Draw a ranking; every second score is that of its predecessor, so that ties decide."""
    scores = np.sort(np.round(generator.gamma(2.0, size=size), 1))[::-1]
    scores[1::2] = scores[: size - size % 2 : 2]
    chosen = generator.permutation(ids)[:size]
    ordered = sorted(zip((-scores).tolist(), chosen.tolist(), strict=True))
    return Ranking(tuple(id for _, id in ordered), tuple(-score for score, _ in ordered))


def legs() -> tuple[dict[str, Ranking], dict[str, Ranking], list[Judgement]]:
    generator = np.random.default_rng(0)
    ids = np.array([f"d{number}" for number in range(60)])  # d10 is before d2
    names = [f"q{number}" for number in range(QUERIES)]
    bm25 = {name: drawn(generator, ids, size) for name, size in zip(names, (0, 1, *[40] * 10), strict=True)}
    knn = {name: drawn(generator, ids, size) for name, size in zip(names, (30, 1, 0, *[45] * 9), strict=True)}
    judgements = [Judgement(name, id, int(generator.integers(3))) for name in names for id in ids[::3]]
    return bm25, knn, judgements


@pytest.mark.parametrize("name", ["nDCG@10", "AP", "F1@10"])
def test_the_values_are_those_of_fusing_and_measuring_each_setting_alone(name: str) -> None:
    bm25, knn, judgements = legs()
    qrels, weights = qrels_of(judgements), (0.0, 0.35, 0.5, 1.0)
    values = FusionTable(bm25, knn, qrels, measure=name).of_families(FUSIONS, weights)
    assert values.shape == (len(FUSIONS), len(weights), QUERIES)
    for row, fusion in enumerate(FUSIONS):
        for column, weight in enumerate(weights):
            alone = weighted(fusion, weight)
            run = {}
            for query in qrels.grades:
                cut = [
                    Ranking(leg.ids[: fusion.window], leg.scores[: fusion.window]) for leg in (bm25[query], knn[query])
                ]
                served = fuse(*cut, alone if len(knn[query]) else bm25_alone(alone), top=10 if "@" in name else None)
                run[query] = Ranking(tuple(hit.id for hit in served), tuple(hit.score for hit in served))
            expected = measure(run, qrels, names=(name,))[name]
            assert values[row, column].tolist() == pytest.approx(list(expected.values())), (fusion, weight)
