"""What highlights and snippets add to a search of 10 hits: ``python -m benchmarks.highlights``.

The passages and queries are those of the documentation that ships with Python. Each query is searched without and with
highlights, turn by turn. Its hits are also marked alone, several times: of the processor's time the least counts, which
other processes on the machine change little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hybrid_search
from benchmarks.harness import milliseconds_in_turn, write_result
from hybrid_search.analysis import analyzer
from hybrid_search.highlights import marked

QUERIES, HITS, TURNS = 600, 10, 12


def main() -> None:
    """Load, search each query with and without highlights, and write the percentiles."""
    data = hybrid_search.open_dataset("python_docs", None, reject=print)
    queries = [query.text for query, _ in zip(data.queries("test"), range(QUERIES), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        hybrid_search.load(data, Path(folder, "index"), options=hybrid_search.LoadOptions(lexical_only=True))
        with hybrid_search.open(Path(folder, "index")) as retriever:
            of_index = analyzer(retriever.engine.settings.analyzer)
            found = {query: retriever.search(query, HITS, mode="bm25") for query in queries}
            length = sum(len(hit.text) for hits in found.values() for hit in hits) / len(queries)
            without, with_them = milliseconds_in_turn(
                [
                    lambda query: retriever.search(query, HITS, mode="bm25"),
                    lambda query: retriever.search(query, HITS, mode="bm25", highlight=True),
                ],
                queries,
            )
            alone = _least(lambda query: marked([query], [found[query]], of_index), queries)
    figures = {"search ms": without, "with highlights ms": with_them, "highlights alone, processor ms": alone}
    sizes = {"queries": len(queries), "hits": HITS, "characters of a page of hits": round(length)}
    write_result("highlights", {**sizes, **figures}, command="python -m benchmarks.highlights")


def _least(call: Callable[[str], object], arguments: list[str]) -> dict[str, float]:
    least = np.full(len(arguments), np.inf)
    for _ in range(TURNS):
        for number, argument in enumerate(arguments):
            started = time.thread_time()
            call(argument)
            least[number] = min(least[number], (time.thread_time() - started) * 1_000)
    return {f"p{q}": round(float(np.percentile(least, q)), 4) for q in (50, 95, 99)}


if __name__ == "__main__":
    main()
