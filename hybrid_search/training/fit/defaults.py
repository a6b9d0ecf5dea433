"""Fits an index's defaults, which its model carries: BM25's k1 and b, and the weights of the legs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.protocol import own_documents, without_own
from hybrid_search.indexing import index_corpus
from hybrid_search.protocols import Progress
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MAX_K, Mode
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.fit.weights import FusionFit, fit_bm25, fit_fusion
from hybrid_search.types import Document, Example, Judgement, Query, Ranking

__all__ = ["DEPTH", "FEWEST_QUERIES", "FitReport", "Leg", "fit_defaults", "ranked_leg", "ranked_legs"]

MOST_DOCUMENTS = 20_000
"""A larger corpus is sampled: all documents that answer a query of the fit, and others up to this number."""

MOST_BM25_QUERIES = 500
FEWEST_QUERIES = 10
"""With fewer, a weight depends more on these few queries than on the towers."""

CAUTIOUS = Fusion(weights=(0.7, 0.3))
"""Weights if the towers can't be evaluated: the highest of BM25's best weights in docs/studies."""

DEPTH = 100


@dataclass(frozen=True, slots=True)
class FitReport:
    """The fitted defaults, each system's nDCG@10 on the validation queries, and notes for the user.

    :ivar by_query: the hybrid's nDCG@10 for each of these queries.
    """

    defaults: ServingDefaults
    validation: Mapping[str, float]
    notes: Sequence[str]
    by_query: Sequence[float] = ()


def fit_defaults(
    engine: EmbeddedEngine,
    folder: Path,
    training: Sequence[Example],
    validation: Sequence[Example],
    *,
    positives: Mapping[str, frozenset[str]],
    progress: Progress,
    otherwise: Callable[[], tuple[ServingDefaults, str]] | None = None,
) -> FitReport:
    """Choose k1 and b on training queries, then the fusion weight on validation queries, which were not trained on.

    :param engine: a lexical index of the whole corpus.
    :param folder: contains the checkpoint as ``model``; the index for the fit is created in it.
    :param positives: query id -> ids of all documents known to be relevant.
    :param otherwise: returns the defaults where too few queries are judged, and what they are; None for
        :data:`CAUTIOUS` weights.
    """
    held_out = list(_queries(validation))
    if len(held_out) < FEWEST_QUERIES:
        count = f"only {len(held_out)} judged queries were held out" if held_out else "no judged queries were held out"
        if otherwise:
            defaults, what = otherwise()
            weights = (
                f"the weights {defaults.fusion.weights[0]:.2f} of BM25 and {defaults.fusion.weights[1]:.2f} of k-NN"
            )
            return FitReport(defaults, {}, [f"{count} to validate on, so {weights} are {what}"])
        note = (
            f"{count} to validate on, so it is not known whether the towers help: BM25 keeps its k1 and b and has a "
            f"cautious {CAUTIOUS.weights[0]:g} of the weight; some hundred judged queries would tell"
        )
        return FitReport(ServingDefaults(fusion=CAUTIOUS), {}, [note])
    seen = {query.id: query for query in (*_queries(validation), *islice(_queries(training), MOST_BM25_QUERIES))}
    relevant = frozenset().union(*(positives.get(query, frozenset()) for query in seen))
    encoder = OnnxEncoder.load(folder / "model")
    with _indexed(engine, relevant, encoder, folder / "fit", progress) as retriever:
        queries, judgements = list(seen.values()), _judgements(seen, positives)
        own = own_documents(queries, {query: dict.fromkeys(positives.get(query, ()), 1) for query in seen}, engine.get)

        def searched(k1_and_b: Bm25) -> list[Ranking]:
            return list(ranked_leg(retriever, queries, "bm25", own, DEPTH, k1_and_b).values())

        bm25 = fit_bm25(searched, queries, judgements)
        judged = _judgements((q.id for q in held_out), positives)
        fusion = fit_fusion(*ranked_legs(retriever, held_out, bm25.bm25, own), judged)
    defaults = ServingDefaults(fusion=fusion.fusion, bm25=bm25.bm25)
    return FitReport(defaults, _validation(fusion), _notes(fusion), fusion.by_query)


Leg = Mapping[str, Ranking]
"""Query id -> ranking."""


def ranked_legs(
    retriever: Retriever, queries: Sequence[Query], bm25: Bm25, own: frozenset[str], depth: int = 0
) -> tuple[Leg, Leg]:
    """Rank by each leg alone: BM25's rankings, then k-NN's.

    :param own: queries that are documents themselves, which are left out of their own rankings.
    :param depth: how many documents; 0 for the window of the retriever's fusion.
    """
    depth = depth or retriever.fusion.window
    return (
        ranked_leg(retriever, queries, "bm25", own, depth, bm25=bm25),
        ranked_leg(retriever, queries, "knn", own, depth),
    )


def ranked_leg(
    retriever: Retriever, queries: Sequence[Query], leg: Mode, own: frozenset[str], depth: int, bm25: Bm25 | None = None
) -> Leg:
    """Rank by one leg alone; as :func:`ranked_legs`."""
    deep = min(depth + bool(own), MAX_K)
    rankings = retriever.rankings([query.text for query in queries], deep, mode=leg, bm25=bm25)
    kept = without_own(queries, rankings, own, depth)
    return dict(zip((query.id for query in queries), kept, strict=True))


def _indexed(
    engine: EmbeddedEngine, relevant: frozenset[str], encoder: OnnxEncoder, folder: Path, progress: Progress
) -> Retriever:
    """Index the corpus, or a sample of it, with the trained towers; closing the retriever closes the index."""
    EmbeddedEngine.drop(folder)
    settings = IndexSettings(
        fingerprint=encoder.fingerprint, dimension=encoder.dimension, similarity=encoder.similarity, faiss="Flat"
    )
    retriever = Retriever(encoder, EmbeddedEngine.create(folder, settings))
    count = min(engine.count(), MOST_DOCUMENTS)
    with progress("encoding for the fit", count) as task:
        for batch in index_corpus(retriever.engine, encoder, _sampled(engine, relevant)):
            task.advance(batch.read)
    return retriever


def _sampled(engine: EmbeddedEngine, relevant: frozenset[str]) -> Iterator[Document]:
    share = MOST_DOCUMENTS / max(engine.count(), 1)
    generator = np.random.default_rng(0)
    for document in engine.documents():
        if share >= 1 or document.id in relevant or generator.random() < share:
            yield document


def _queries(examples: Iterable[Example]) -> Iterator[Query]:
    yield from {example.query.id: example.query for example in examples}.values()


def _judgements(queries: Iterable[str], positives: Mapping[str, frozenset[str]]) -> list[Judgement]:
    return [Judgement(query, document, 1) for query in queries for document in sorted(positives.get(query, ()))]


def _validation(fit: FusionFit) -> dict[str, float]:
    curve = dict(fit.curve)
    values = {"queries": fit.queries, "bm25": curve[1.0], "knn": curve[0.0], "hybrid": curve[fit.fusion.weights[0]]}
    return {name: round(value, 4) for name, value in values.items()}


def _notes(fit: FusionFit) -> list[str]:
    weight = fit.fusion.weights[0]
    if fit.fuses:
        note = f"fusion weight {weight:.2f} for BM25 gains {fit.gain:+.3f} nDCG@10 over BM25 alone"
        doubt = f" on {fit.queries} validation queries, which is within chance; so the weight leans to BM25"
        return [note if fit.is_sure else note + doubt]
    return [
        f"fusing does not gain over BM25 alone on the {fit.queries} validation queries, so the default weight of k-NN "
        "is 0; more training examples help most, then longer training"
    ]
