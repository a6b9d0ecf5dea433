"""Is a weight for each query, from a few of its features, better than one weight for all?

``python -m benchmarks.weight_per_query CACHE [test]`` writes ``results/weight_per_query.json``, or
``weight_per_query_test.json``, which ``docs/studies/fusion_weight.md`` reads. CACHE keeps the vectors of ``en``.
Features are what a search knows before it fuses: how many words, both legs' best scores and how fast they fall, how
alike the legs are, how finely the towers cut the words. Without labels: a rule learnt on the other sets of
:mod:`benchmarks.made_forms`, each set in turn, or with ``test`` on all of them for the sets that judge. With labels:
learnt on half of a set's queries, or with ``test`` on the protocol's queries to fit on, for the others.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.harness import write_result
from benchmarks.made_forms import STEPS, Leg, bm25_run, limited, tests, to_choose_on
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search.analysis import analyzer
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.settings.index import Fusion
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.fit.table import FusionTable
from hybrid_search.types import Ranking

FEATURES = ("words", "pieces a word", "BM25's best", "BM25's fall", "k-NN's best", "k-NN's fall", "alike")
TOP, FOLDS = 10, 5
PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)
ENGLISH = analyzer("english_folded")

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Some judged queries: nDCG@10 by (weight, query), and features by (query, feature)."""

    values: Table
    features: Table


def main() -> None:
    """Fit and measure on all sets."""
    is_test = "test" in sys.argv[2:]
    folder = located(Path("en"))
    encoder = OnnxEncoder.load(folder, threads=1)
    leg = Leg(encoder.encode_documents, encoder.encode_queries, Path(sys.argv[1]) / "en")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known = {name: _known(judged, leg, tokenizer) for name, judged in to_choose_on()}
    figures: dict[str, Any] = {}
    if is_test:
        for name, judged in tests():
            test = _known(judged, leg, tokenizer)
            fit = _known(limited(test_set(name).fit), leg, tokenizer) if name in NAMES else None
            figures[name] = _measured(fit, _joined(list(known.values())), test)
            print(name, figures[name], flush=True)
    else:
        for name, one in known.items():
            fit, held = _halved(one)
            figures[name] = _measured(fit, _joined([other for key, other in known.items() if key != name]), held)
            print(name, figures[name], flush=True)
    arguments = " ".join(["CACHE", *sys.argv[2:]])
    name = "weight_per_query_test" if is_test else "weight_per_query"
    write_result(name, figures, command=f"python -m benchmarks.weight_per_query {arguments}", show=False)


def _halved(known: Known) -> tuple[Known, Known]:
    half = np.random.default_rng(0).permutation(known.values.shape[1]) % 2 == 0
    fit, held = (Known(known.values[:, part], known.features[part]) for part in (half, ~half))
    return fit, held


def _known(judged: Judged, leg: Leg, tokenizer: Any) -> Known:
    bm25, knn = bm25_run(judged), leg.run(judged)
    table = FusionTable(bm25, knn, qrels_of(judged.judgements))
    texts = {query.id: query.text for query in judged.queries}
    rows = [_features(texts[query], bm25[query], knn[query], tokenizer) for query in table.queries]
    return Known(table.values(Fusion()), np.array(rows))


def _features(text: str, bm25: Ranking, knn: Ranking, tokenizer: Any) -> list[float]:
    words = max(len(ENGLISH.words(text)), 1)
    pieces = len(tokenizer.encode(text, add_special_tokens=False).ids)
    lexical, dense = ([*leg.scores[:TOP], *[0.0] * TOP][:TOP] for leg in (bm25, knn))
    return [
        np.log(words),
        pieces / max(len(text.split()), 1),
        np.log1p(lexical[0] / words),
        1 - lexical[-1] / lexical[0] if lexical[0] else 0.0,
        dense[0],
        dense[0] - dense[-1],
        len(set(bm25.ids[:TOP]) & set(knn.ids[:TOP])) / TOP,
    ]


def _measured(fit: Known | None, others: Known, test: Known) -> dict[str, Any]:
    """Measure per-query weights against the one weight that the same queries choose."""
    found: dict[str, Any] = {
        "queries": test.values.shape[1],
        "each query's own best weight": round(float(test.values.max(axis=0).mean()), 4),
    }
    for whose, known in (("own", fit), ("others'", others)):
        if known is None:
            continue
        feature, halves = _best_half(known)
        one = np.full(test.values.shape[1], int(known.values.mean(axis=1).argmax()))
        baseline = _values(test, one)
        rules = {
            "one weight": one,
            "two weights": halves(test.features),
            "linear": _linear(known, _penalty(known))(test.features),
        }
        found[whose] = {"queries": known.values.shape[1], "two weights by": FEATURES[feature]}
        for rule, places in rules.items():
            values = _values(test, places)
            p = paired_p_value(values.tolist(), baseline.tolist())
            found[whose][rule] = {
                "weights": [round(float(q) / STEPS, 2) for q in np.percentile(places, (10, 50, 90))],
                "nDCG@10": round(float(values.mean()), 4),
                "less one weight": [round(float((values - baseline).mean()), 4), round(p, 4)],
            }
    return found


def _values(known: Known, places: Any) -> Table:
    values: Table = known.values[places, np.arange(len(places))]
    return values


def _joined(many: list[Known]) -> Known:
    """Put sets together, none of which counts more than another: the same number of queries of each."""
    least = min(one.values.shape[1] for one in many)
    return Known(
        np.concatenate([one.values[:, :least] for one in many], axis=1),
        np.concatenate([one.features[:least] for one in many]),
    )


def _best_half(fit: Known) -> tuple[int, Any]:
    """Return the feature at whose median two weights gain most over one, by cross-validation, and the rule."""
    gains = [_validated(fit, lambda known, f=feature: _halves(known, f)) for feature in range(len(FEATURES))]
    best = int(np.argmax(gains))
    return best, _halves(fit, best)


def _halves(known: Known, feature: int) -> Any:
    middle = float(np.median(known.features[:, feature]))
    low = known.features[:, feature] <= middle
    places = [int(known.values[:, part].mean(axis=1).argmax()) if part.any() else 10 for part in (low, ~low)]
    return lambda features: np.where(features[:, feature] <= middle, *places)


def _linear(known: Known, penalty: float) -> Any:
    """Predict each weight's value from the features by ridge regression; the weight with the highest is chosen."""
    mean, deviation = known.features.mean(axis=0), known.features.std(axis=0) + 1e-9
    means = known.values.mean(axis=1)
    inputs = (known.features - mean) / deviation
    # What a query is worth at any weight is not to be explained, so each query's own mean is taken off.
    wanted = (known.values - known.values.mean(axis=0)).T - (means - means.mean())
    slopes = np.linalg.solve(inputs.T @ inputs + penalty * np.eye(inputs.shape[1]), inputs.T @ wanted)
    return lambda features: ((features - mean) / deviation @ slopes + means).argmax(axis=1)


def _penalty(known: Known) -> float:
    return max(PENALTIES, key=lambda penalty: _validated(known, lambda part: _linear(part, penalty)))


def _validated(known: Known, learn: Any) -> float:
    """Return the mean value on queries that a rule did not learn from."""
    fold = np.random.default_rng(0).permutation(known.values.shape[1]) % FOLDS
    values = []
    for held in range(FOLDS):
        rule = learn(Known(known.values[:, fold != held], known.features[fold != held]))
        places = rule(known.features[fold == held])
        values += known.values[:, fold == held][places, np.arange(len(places))].tolist()
    return float(np.mean(values))


if __name__ == "__main__":
    main()
