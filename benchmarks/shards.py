"""Does a server rank the same documents in several shards as in one? nDCG@10, and how many of the first ten are alike.

``python -m benchmarks.shards LOCATION`` (``make opensearch`` starts a node) loads NFCorpus with the vectors of ``en``
into one, three and five shards, and asks its test queries by BM25, k-NN and both: as always, and with
``dfs_query_then_fetch``, which collects the words' document frequencies of all shards first; a hybrid's legs are not
fused then by the server, so they are fused here. Writes ``results/shards.json``; two minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import write_result
from benchmarks.quality.measuring import fused
from benchmarks.quality.sets import Judged, test_set
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.search import searcher
from hybrid_search.evaluation.measures import Qrels, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.protocols import Vectors
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Mode
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions, ServerOptions
from hybrid_search.streams import in_batches
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.types import Query, Ranking

SHARDS = (1, 3, 5)
TOP = 10
FUSION = Fusion(weights=(0.65, 0.35))
"""The weights that ``load`` chooses for this corpus (docs/en.md)."""

Run = Mapping[str, Ranking]


def main() -> None:
    """Load, ask and compare."""
    judged = test_set("nfcorpus").test
    encoder = OnnxEncoder.load(located(Path("en")))
    vectors = encoder.encode_documents([document.searchable_text for document in judged.documents])
    qrels = qrels_of(judged.judgements)
    queries = [query for query in judged.queries if query.id in qrels.grades]
    runs: dict[Mode, dict[str, Run]] = {mode: {} for mode in MODES}
    figures: dict[str, Any] = {"documents": len(judged.documents), "queries": len(queries)}
    for count in SHARDS:
        location = f"{sys.argv[1]}-{count}"
        _load(location, judged, vectors, encoder, count)
        with OpenSearchEngine.open(location, options=SearchOptions(explain=False)) as engine:
            retriever = Retriever(encoder, engine, FUSION)
            figures["server"] = engine.stats()["server"]
            asked = {mode: _run(retriever, queries, mode) for mode in MODES}
            with _frequencies_of_all():
                exact = {mode: _run(retriever, queries, mode) for mode in ("bm25", "knn")}
        exact["hybrid"] = fused(exact["bm25"], exact["knn"], FUSION)
        for mode in MODES:
            runs[mode] |= {f"{count}": asked[mode], f"{count}, dfs": exact[mode]}
        OpenSearchEngine.drop(location)
    figures |= {mode: _compared(of_mode, qrels) for mode, of_mode in runs.items()}
    write_result("shards", figures, command="python -m benchmarks.shards LOCATION")


def _load(location: str, judged: Judged, vectors: Vectors, encoder: OnnxEncoder, shards: int) -> None:
    if OpenSearchEngine.exists(location):
        OpenSearchEngine.drop(location)
    settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension)
    with OpenSearchEngine.create(location, settings, options=ServerOptions(shards=shards)) as engine:
        for places in in_batches(range(len(judged.documents)), 1_000):
            engine.add([judged.documents[place] for place in places], vectors[places])
        engine.commit()


@contextmanager
def _frequencies_of_all() -> Iterator[None]:
    """Let the searches ask for ``dfs_query_then_fetch``, in their lines before each body."""
    before = searcher._NO_HEADER
    searcher._NO_HEADER = b'{"search_type":"dfs_query_then_fetch"}'
    try:
        yield
    finally:
        searcher._NO_HEADER = before


def _run(retriever: Retriever, queries: Sequence[Query], mode: Mode) -> Run:
    rankings = retriever.rankings([query.text for query in queries], FUSION.window, mode=mode)
    return dict(zip([query.id for query in queries], rankings, strict=True))


def _compared(runs: Mapping[str, Run], qrels: Qrels) -> dict[str, Any]:
    first_ten = {name: {query: _cut(ranking) for query, ranking in run.items()} for name, run in runs.items()}
    values = {name: measure(run, qrels, names=("nDCG@10",))["nDCG@10"] for name, run in first_ten.items()}
    first = next(iter(first_ten))
    against = compare(values, baseline=first)
    return {
        name: {
            "nDCG@10": round(against[name].mean, 4),
            "less one shard": [round(against[name].difference, 4), round(against[name].p_value, 4)],
            "overlap@10": round(_overlap(run, first_ten[first]), 4),
            "same order": round(sum(run[q].ids == first_ten[first][q].ids for q in run) / len(run), 4),
        }
        for name, run in first_ten.items()
    }


def _cut(ranking: Ranking) -> Ranking:
    return Ranking(ranking.ids[:TOP], ranking.scores[:TOP])


def _overlap(one: Run, other: Run) -> float:
    """Return the mean share of the first ten that both have."""
    shares = [
        len(set(one[query].ids) & set(other[query].ids)) / max(len(one[query].ids), len(other[query].ids), 1)
        if one[query].ids or other[query].ids
        else 1.0
        for query in one
    ]
    return sum(shares) / len(shares)


if __name__ == "__main__":
    main()
