"""What highlights and snippets add to a search of 10 hits: ``python -m benchmarks.highlights``.

The passages and queries are those of the documentation that ships with Python. Each query is searched without and with
highlights, and its hits are marked alone, turn by turn.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import hybrid_search
from benchmarks.harness import milliseconds_in_turn, write_result
from hybrid_search.analysis import analyzer
from hybrid_search.highlights import marked

QUERIES, HITS = 600, 10


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
            without, with_them, alone = milliseconds_in_turn(
                [
                    lambda query: retriever.search(query, HITS, mode="bm25"),
                    lambda query: retriever.search(query, HITS, mode="bm25", highlight=True),
                    lambda query: marked([query], [found[query]], of_index),
                ],
                queries,
            )
    figures = {"search ms": without, "with highlights ms": with_them, "highlights alone ms": alone}
    sizes = {"queries": len(queries), "hits": HITS, "characters of a page of hits": round(length)}
    write_result("highlights", {**sizes, **figures}, command="python -m benchmarks.highlights")


if __name__ == "__main__":
    main()
