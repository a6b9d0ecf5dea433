"""Measures a model on a set: dense alone, BM25 with fitted k1 and b, and both fused with a fitted weight."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sets import Judged, TestSet
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.fusion import fuse
from hybrid_search.search import Search
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.training.fit.weights import Bm25Fit, fit_bm25, fit_fusion
from hybrid_search.types import Ranking

__all__ = ["Lexical", "Run", "Vectors", "dense_leg", "fused", "lexical_legs", "measure_set", "ranked"]

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]
Run = Mapping[str, Ranking]

WINDOW = Fusion().window
MOST_BM25_QUERIES = 500
MEASURES = ("nDCG@10", "R@100")
OTHER = Bm25(k1=0.9, b=0.4)
"""The k1 and b of published MS MARCO baselines; measured beside the fitted ones, never fused."""


@dataclass(frozen=True)
class Lexical:
    """BM25's side of a set, the same for every model.

    :ivar other: the test's ranking with :data:`OTHER`.
    :ivar fitted: how k1 and b were chosen, on the queries to fit on.
    """

    test: Run
    other: Run
    fit: Run
    fitted: Bm25Fit


def lexical_legs(data: TestSet) -> Lexical:
    """Fit k1 and b on the set's queries to fit on, and rank both query sets with them."""
    with _indexed(data.fit) as fit:
        queries = data.fit.queries
        texts = [q.text for q in queries]
        some = texts[:MOST_BM25_QUERIES]
        fitted = fit_bm25(lambda pair: fit(some, pair, 100), queries[:MOST_BM25_QUERIES], data.fit.judgements)
        legs = [dict(zip([q.id for q in queries], fit(texts, fitted.bm25, WINDOW), strict=True))]
    with _indexed(data.test) as test:
        for bm25 in (fitted.bm25, OTHER):
            rankings = test([q.text for q in data.test.queries], bm25, WINDOW)
            legs.append(dict(zip([q.id for q in data.test.queries], rankings, strict=True)))
    return Lexical(fit=legs[0], test=legs[1], other=legs[2], fitted=fitted)


def measure_set(data: TestSet, lexical: Lexical, queries: Encode, documents: Encode) -> dict[str, Any]:
    """Measure one model; the fusion weight comes from the queries to fit on.

    :return: per system nDCG@10 and R@100 on the test, the same on the queries to fit on, the weight, and the hybrid's
        comparison with BM25.
    """
    knn_fit = dense_leg(data.fit, queries, documents)
    fusion = fit_fusion(lexical.fit, knn_fit, data.fit.judgements)
    knn = dense_leg(data.test, queries, documents)
    runs = {"bm25": lexical.test, "knn": knn, "hybrid": fused(lexical.test, knn, fusion.fusion)}
    qrels = qrels_of(data.test.judgements)
    table = {name: measure(run, qrels, names=MEASURES) for name, run in runs.items()}
    against = compare({name: values["nDCG@10"] for name, values in table.items()})["hybrid"]
    other = measure(lexical.other, qrels, names=MEASURES)
    curve = dict(fusion.curve)
    return {
        "test": {name: _rounded(means(values)) for name, values in table.items()},
        "fit": {"bm25": round(curve[1.0], 4), "knn": round(curve[0.0], 4), "hybrid": round(max(curve.values()), 4)},
        "bm25_weight": fusion.fusion.weights[0],
        "k1_b": [lexical.fitted.bm25.k1, lexical.fitted.bm25.b],
        "bm25_of_0.9_and_0.4": _rounded(means(other)),
        "k1_b_on_fit": {f"{pair.k1} {pair.b}": round(value, 4) for pair, value in lexical.fitted.table},
        "hybrid_less_bm25": {
            "difference": round(against.difference, 4),
            "interval": [round(end, 4) for end in against.difference_interval or ()],
            "p": round(against.p_value, 4),
            "wins": against.wins,
            "losses": against.losses,
        },
    }


def dense_leg(judged: Judged, queries: Encode, documents: Encode) -> dict[str, Ranking]:
    """Rank all documents by cosine, exactly; the first of the window's size."""
    matrix = documents([d.searchable_text for d in judged.documents])
    return ranked(judged, queries([q.text for q in judged.queries]), matrix)


def ranked(judged: Judged, queries: Vectors, documents: Vectors) -> dict[str, Ranking]:
    """Rank documents (m, d) for queries (n, d), unit rows in the set's order."""
    scores = (1 + queries @ documents.T) / 2
    ids = [d.id for d in judged.documents]
    return {q.id: _top(ids, row) for q, row in zip(judged.queries, scores, strict=True)}


def fused(bm25: Run, knn: Run, fusion: Fusion) -> dict[str, Ranking]:
    """Fuse two runs."""
    result = {}
    for query in bm25:
        hits = fuse(bm25[query], knn[query], fusion, top=WINDOW)
        result[query] = Ranking(tuple(hit.id for hit in hits), tuple(hit.score for hit in hits))
    return result


def _top(ids: Sequence[str], scores: Vectors) -> Ranking:
    best = np.argpartition(-scores, min(WINDOW, len(ids) - 1))[:WINDOW]
    pairs = sorted((-float(scores[i]), ids[i]) for i in best)
    return Ranking(tuple(i for _, i in pairs), tuple(-score for score, _ in pairs))


class _indexed:  # noqa: N801
    """A lexical index of some documents, as a context that gives its search."""

    def __init__(self, judged: Judged) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._engine = EmbeddedEngine.create(Path(self._home.name) / "index", IndexSettings())
        self._engine.add(judged.documents, None)
        self._engine.commit()

    def __enter__(self) -> Callable[[Sequence[str], Bm25, int], list[Ranking]]:
        return lambda texts, bm25, k: self._engine.rank(Search.of(texts, k, "bm25", bm25=bm25))

    def __exit__(self, *_: object) -> None:
        self._engine.close()
        self._home.cleanup()


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
