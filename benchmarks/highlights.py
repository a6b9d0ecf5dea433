"""What highlights and snippets add to a search of 10 hits: ``python -m benchmarks.highlights``.

The passages and queries are those of the documentation that ships with Python; median of the differences.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import hybrid_search

QUERIES = 300


def main() -> None:
    """Load, search each query with and without highlights, and print the medians."""
    data = hybrid_search.open_dataset("python_docs", None, reject=print)
    queries = [query.text for query, _ in zip(data.queries("test"), range(QUERIES), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        hybrid_search.load(data, Path(folder, "index"), options=hybrid_search.LoadOptions(lexical_only=True))
        with hybrid_search.open(Path(folder, "index")) as retriever:
            seconds: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(2):
                for query in queries:
                    for highlight in (False, True):
                        started = perf_counter()
                        retriever.search(query, 10, mode="bm25", highlight=highlight)
                        if turn:
                            seconds[highlight].append(perf_counter() - started)
    added = [(with_it - without) * 1e3 for without, with_it in zip(seconds[False], seconds[True], strict=True)]
    print(
        f"{len(added)} queries, 10 hits: {median(seconds[False]) * 1e3:.3f} ms, highlights add {median(added):.3f} ms"
    )


if __name__ == "__main__":
    main()
