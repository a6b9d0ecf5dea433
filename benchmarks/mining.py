"""How many queries a second are mined for BM25 negatives, beside rank-bm25 over the same passages?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rank_bm25 import BM25Okapi

from benchmarks.harness import passages, real_queries, write_result
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.search import Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.negatives.miner import Miner
from hybrid_search.types import Example, Query, Ranking

QUERIES = 6_000
RANK_BM25_QUERIES = 20


def main() -> None:
    """Mine for real queries over 41,751 passages; the positives are arbitrary, speed does not depend on them."""
    documents, config = passages(), TrainConfig()
    queries = real_queries(QUERIES)
    examples = [Example(Query(str(n), text), documents[n]) for n, text in enumerate(queries)]
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedEngine.create(Path(folder) / "index", IndexSettings()) as engine,
    ):
        engine.add(documents, None)
        engine.commit()

        def search(texts: Sequence[str], k: int) -> list[Ranking]:
            return engine.rank(Search.of(texts, k, "bm25"))

        search(queries[:200], config.rank_window[1])
        started = time.perf_counter()
        search(queries, config.rank_window[1])
        search_rate = QUERIES / (time.perf_counter() - started)
        miner = Miner(search, engine.get, rank_window=config.rank_window)
        started = time.perf_counter()
        mined = sum(1 for _ in miner.mine(examples))
        mine_rate = mined / (time.perf_counter() - started)
    tokens = [document.text.lower().split() for document in documents]
    oracle = BM25Okapi(tokens)
    started = time.perf_counter()
    for query in queries[:RANK_BM25_QUERIES]:
        oracle.get_scores(query.lower().split())
    oracle_rate = RANK_BM25_QUERIES / (time.perf_counter() - started)
    figures = {
        "passages": len(documents),
        "searched queries/s (k 100)": round(search_rate),
        "mined queries/s (search, texts, filters)": round(mine_rate),
        "rank-bm25 queries/s": round(oracle_rate, 1),
        "mined over rank-bm25": round(mine_rate / oracle_rate),
    }
    write_result("mining", figures, command="python -m benchmarks.mining")


if __name__ == "__main__":
    main()
