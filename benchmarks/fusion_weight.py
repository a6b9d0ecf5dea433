"""How should the weight of the two legs be chosen from few queries? Rules compared on real rankings and on noise.

``python -m benchmarks.fusion_weight NAME=CHECKPOINT ...`` ranks the queries to fit on of the quality protocol with each
checkpoint; ``noise`` is BM25's ranking beside a k-NN leg of random order. Again and again it draws some of a set's
queries, lets each rule choose by them, and measures the choice on the others. Writes ``results/fusion_weight.json``:
per rule the mean gain in nDCG@10 over BM25 alone, and in how many draws the others were significantly below BM25.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import write_result
from benchmarks.quality.measuring import Run, dense_leg, lexical_legs
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.fusion import fuse
from hybrid_search.settings.index import Fusion
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.fit.weights import chosen_place, plateau_centre
from hybrid_search.types import Ranking

STEPS = 20
COUNTS = (25, 50, 100, 200)
DRAWS = 200
MOST_QUERIES = 800
SURE = 1.96

Values = NDArray[np.float64]


def best(table: Values) -> int:
    """Choose the weight with the best mean."""
    return int(table.mean(axis=1).argmax())


def middle(table: Values) -> int:
    """Choose the middle of the plateau, if it is above BM25."""
    return _if_better(table, plateau_centre(table))


def half_way(table: Values) -> int:
    """Choose the middle of the plateau, half the way to BM25 if its gain may be chance: the rule before."""
    place = plateau_centre(table)
    gains = table[place] - table[-1]
    if gains.mean() <= SURE * gains.std(ddof=1) / np.sqrt(len(gains)):
        place = (place + STEPS + 1) // 2
        place = STEPS if place >= STEPS - 2 else place
    return _if_better(table, place)


RULES: Mapping[str, Callable[[Values], int]] = {
    "best mean": best,
    "middle of the plateau": middle,
    "half the way": half_way,
    "drawn back (the product's)": chosen_place,
}


def main() -> None:
    """Run it over the checkpoints named."""
    models = dict(argument.split("=", 1) for argument in sys.argv[1:])
    tables: dict[str, Values] = {}
    for name in NAMES:
        data = test_set(name)
        lexical = lexical_legs(data).fit
        legs = {model: _encoded(data.fit, Path(folder)) for model, folder in models.items()}
        for model, knn in {**legs, "noise": _noise(lexical, np.random.default_rng(0))}.items():
            tables[f"{model}, {name}"] = by_weight(lexical, knn, data.fit)
            print(f"{model}, {name}: {tables[f'{model}, {name}'].shape[1]} queries", flush=True)
    figures = {
        label: {str(n): _tried(table, n) for n in COUNTS if 2 * n <= table.shape[1]} for label, table in tables.items()
    }
    write_result(
        "fusion_weight", {"draws": DRAWS, "tables": figures}, seed=0,
        command=f"python -m benchmarks.fusion_weight {' '.join(f'{name}=CHECKPOINT' for name in models)}".strip(),
    )  # fmt: skip
    _show(figures)


def _encoded(judged: Judged, model: Path) -> Run:
    encoder = OnnxEncoder.load(model, threads=1)
    return dense_leg(judged, encoder.encode_queries, encoder.encode_documents)


def _noise(lexical: Run, generator: np.random.Generator) -> Run:
    """Give each query the documents of BM25's leg in random order."""
    scores = tuple(np.linspace(1, 0.5, Fusion().window).tolist())
    return {
        query: Ranking(tuple(generator.permutation(np.array(leg.ids)).tolist()), scores[: len(leg.ids)])
        for query, leg in lexical.items()
    }


def by_weight(bm25: Run, knn: Run, judged: Judged) -> Values:
    """Return nDCG@10 per weight of BM25 (rows, 0 to 1) and query."""
    names = [query.id for query in judged.queries][:MOST_QUERIES]
    qrels = qrels_of(j for j in judged.judgements if j.query_id in set(names))
    return np.array([_values(bm25, knn, names, step / STEPS, qrels) for step in range(STEPS + 1)])


def _values(bm25: Run, knn: Run, names: list[str], weight: float, qrels: Any) -> list[float]:
    fusion = Fusion(weights=(weight, round(1 - weight, 12)))
    run = {}
    for name in names:
        hits = fuse(bm25[name], knn[name], fusion, top=10)
        run[name] = Ranking(tuple(hit.id for hit in hits), tuple(hit.score for hit in hits))
    return list(measure(run, qrels, names=("nDCG@10",))["nDCG@10"].values())


def _tried(table: Values, count: int) -> dict[str, Any]:
    """Draw ``count`` queries to choose by, again and again; the rest measures the choice."""
    generator = np.random.default_rng(0)
    found: dict[str, list[tuple[float, bool, int]]] = {name: [] for name in RULES}
    for _ in range(DRAWS):
        order = generator.permutation(table.shape[1])
        chosen, others = table[:, order[:count]], table[:, order[count:]]
        for name, rule in RULES.items():
            place = rule(chosen)
            gains = others[place] - others[-1]
            error = gains.std(ddof=1) / np.sqrt(len(gains))
            found[name].append((float(gains.mean()), bool(gains.mean() < -SURE * error), place))
    ceiling = table[best(table)] - table[-1]
    return {
        "best weight of all queries": {"gain": round(float(ceiling.mean()), 4), "weight": best(table) / STEPS},
        **{
            name: {
                "gain": round(float(np.mean([gain for gain, _, _ in draws])), 4),
                "harmful": sum(harm for _, harm, _ in draws),
                "weight": round(float(np.mean([place for _, _, place in draws])) / STEPS, 3),
            }
            for name, draws in found.items()
        },
    }


def _if_better(table: Values, place: int) -> int:
    return place if table[place].mean() > table[-1].mean() else STEPS


def _show(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    print("gain over BM25 in thousandths of nDCG@10, mean of the draws; in brackets draws with significant harm")
    for label, by_count in figures.items():
        for count, rules in by_count.items():
            cells = [
                f"{name} {1000 * v['gain']:+.1f}" + (f" ({v['harmful']})" if "harmful" in v else "")
                for name, v in rules.items()
            ]
            print(f"{label}, {count} queries: {'; '.join(cells)}")


if __name__ == "__main__":
    main()
