"""How should the legs' scores be brought to one scale? Each method at its best weight, on real rankings.

``python -m benchmarks.normalisation NAME=CHECKPOINT ...`` ranks the queries to fit on of the quality protocol with each
checkpoint and fuses by every method and all weights. Writes ``results/normalisation.json``: per method the best mean
nDCG@10, its weight and the recall@100 there, and how far nDCG@10 and recall@100 are from those of ``min_max`` at its
best weight, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from benchmarks.harness import write_result
from benchmarks.quality.measuring import Run, dense_leg, fused, lexical_legs
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search.evaluation.measures import PRIMARY, means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.settings.index import Fusion, Normalisation
from hybrid_search.towers.onnx.encoder import OnnxEncoder

METHODS: tuple[Normalisation, ...] = get_args(Normalisation)
PLAIN = "min_max"
RECALL = "R@100"
STEPS = 20
MOST_QUERIES = 800

Values = Mapping[str, Mapping[str, float]]


def main() -> None:
    """Run it over the checkpoints named."""
    models = dict(argument.split("=", 1) for argument in sys.argv[1:])
    figures: dict[str, Any] = {}
    for name in NAMES:
        data = test_set(name)
        lexical = lexical_legs(data).fit
        for model, folder in models.items():
            encoder = OnnxEncoder.load(Path(folder), threads=1)
            knn = dense_leg(data.fit, encoder.encode_queries, encoder.encode_documents)
            found = {method: _best(lexical, knn, data.fit, Fusion(method=method)) for method in METHODS}
            figures[f"{model}, {name}"] = {method: _figures(*best, found[PLAIN][1]) for method, best in found.items()}
            print(f"{model}, {name}: {figures[f'{model}, {name}']}", flush=True)
    shown = " ".join(f"{name}=CHECKPOINT" for name in models)
    write_result("normalisation", figures, seed=0, command=f"python -m benchmarks.normalisation {shown}".strip())


def _best(bm25: Run, knn: Run, judged: Judged, fusion: Fusion) -> tuple[float, Values]:
    """Return BM25's best weight by mean nDCG@10, and measure -> query -> value there."""
    names = [query.id for query in judged.queries][:MOST_QUERIES]
    qrels = qrels_of(j for j in judged.judgements if j.query_id in set(names))
    found = {}
    for step in range(STEPS + 1):
        weights = (step / STEPS, round(1 - step / STEPS, 12))
        run = fused({name: bm25[name] for name in names}, knn, fusion.replace(weights=weights))
        found[step / STEPS] = measure(run, qrels, names=(PRIMARY, RECALL))
    best = max(found, key=lambda weight: means(found[weight])[PRIMARY])
    return best, found[best]


def _figures(weight: float, values: Values, plain: Values) -> dict[str, Any]:
    figures: dict[str, Any] = {"weight": weight}
    for name, by_query in values.items():
        against = compare({PLAIN: plain[name], "this": by_query}, baseline=PLAIN)["this"]
        figures[name] = round(means(values)[name], 4)
        figures[f"{name} less {PLAIN}"] = round(against.difference, 4)
        figures[f"{name} interval"] = [round(end, 4) for end in against.difference_interval or ()]
    return figures


if __name__ == "__main__":
    main()
