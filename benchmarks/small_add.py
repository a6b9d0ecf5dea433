"""A small add: one document into an index of 5,000 passages, with vectors, committed and searchable in both legs.

``python -m benchmarks.small_add`` takes the passages of the documentation that ships with Python, and made vectors:
encoding one document is another 1 to 2 ms. After each add as many bytes as it brings to SQLite's log are forced to the
disk: what no durable add can do without. ``--profile`` prints where the time goes.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.harness import milliseconds, milliseconds_in_turn, write_result
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.loaders.python_docs import PythonDocs
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

DOCUMENTS, ADDS, DIMENSION = 5_000, 200, 128
_LOGGED = 64 << 10
"""Bytes that one add brings to SQLite's log: some 16 pages."""


def main() -> None:
    """Fill the index, add one document after another, some new and some replaced, and write the percentiles."""
    texts = islice(cycle(PythonDocs().documents()), DOCUMENTS + ADDS)
    documents = [Document(f"d{n}", one.text, one.title, {"n": n}) for n, one in enumerate(texts)]
    vectors = np.random.default_rng(0).normal(size=(len(documents), DIMENSION)).astype(np.float32)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedEngine.create(Path(folder, "index"), IndexSettings(dimension=DIMENSION, fingerprint="made")) as engine,
        Path(folder, "forced").open("wb", buffering=0) as file,
    ):
        engine.add(documents[:DOCUMENTS], vectors[:DOCUMENTS])
        engine.commit()

        def add(number: int) -> None:
            engine.add(documents[number : number + 1], vectors[number : number + 1])
            engine.commit()

        def force(_: int) -> None:
            file.seek(0)
            file.write(bytes(_LOGGED))
            os.fdatasync(file.fileno())

        numbers = list(range(DOCUMENTS, DOCUMENTS + ADDS))
        if "--profile" in sys.argv:
            profile = cProfile.Profile()
            profile.runcall(milliseconds, add, numbers)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        new, forcing = milliseconds_in_turn([add, force], numbers)
        figures = {
            "new document ms": new,
            "replaced document ms": milliseconds(add, numbers),
            "forcing alone ms": forcing,
        }
    write_result(
        "small_add", {"documents": DOCUMENTS, "adds": ADDS, **figures}, command="python -m benchmarks.small_add"
    )


if __name__ == "__main__":
    main()
