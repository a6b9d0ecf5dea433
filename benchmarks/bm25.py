"""Does BM25 rank as an independent implementation does, at the default and at other k1 and b?

Both see the same tokens (the engine's analyzer), bm25s with Lucene's formula; nDCG@10 by ir-measures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import bm25s

from benchmarks.harness import need_data, read_documents, write_result
from hybrid_search.analysis import analyzer
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.search import Search
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Ranking

DEPTH = 1_000
SETS = {"msmarco_passage": ("msmarco-passage", "dl19"), "beir": ("nfcorpus", "test")}
PAIRS = (Bm25(), Bm25(k1=0.9, b=0.4), Bm25(k1=0.6, b=0.4))


def main() -> None:
    """Compare on the DL19 pool and on NFCorpus."""
    figures = {f"{folder} {split}": _compare(loader, folder, split) for loader, (folder, split) in SETS.items()}
    write_result("bm25", figures, command="python -m benchmarks.bm25")


def _compare(loader: str, folder: str, split: str) -> dict[str, dict[str, float]]:
    documents = read_documents(loader, folder)
    dataset = open_dataset(loader, need_data() / folder, reject=lambda rejection: None)
    qrels = qrels_of(dataset.judgements(split))
    queries = [query for query in dataset.queries(split) if query.id in qrels.grades]
    texts = [query.text for query in queries]
    analyze = analyzer("english").terms_of()
    tokens = [analyze(document.searchable_text) for document in documents]
    table = {}
    with tempfile.TemporaryDirectory() as home, EmbeddedEngine.create(Path(home) / "index", IndexSettings()) as engine:
        engine.add(documents, None)
        engine.commit()
        for pair in PAIRS:
            ours = engine.rank(Search.of(texts, DEPTH, "bm25", bm25=pair))
            oracle = bm25s.BM25(method="lucene", k1=pair.k1, b=pair.b)
            oracle.index(tokens, show_progress=False)
            found, scores = oracle.retrieve([analyze(text) for text in texts], k=DEPTH, show_progress=False)
            theirs = [
                Ranking(tuple(documents[i].id for i in row), tuple(map(float, of_row)))
                for row, of_row in zip(found, scores, strict=True)
            ]
            both = {
                name: means(measure(dict(zip([q.id for q in queries], run, strict=True)), qrels))["nDCG@10"]
                for name, run in (("ours", ours), ("bm25s", theirs))
            }
            table[f"k1 {pair.k1}, b {pair.b}"] = {name: round(value, 4) for name, value in both.items()}
    return table


if __name__ == "__main__":
    main()
