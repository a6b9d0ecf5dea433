"""Measures how fast a retriever answers queries and encodes texts, and the memory that an index takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from hybrid_search.errors import UsageError
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Mode
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import Fusion

__all__ = ["Latency", "Speed", "measure_encoding", "measure_latency", "measure_memory", "measure_speed"]

_WARM_UP = 20
_RERANKED = 40
"""Queries that are timed when hits are ranked again, which may take a second each."""

_BATCH = 256
_ENCODED = 200
_SECONDS = 120.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Latency:
    """One mode's speed.

    :ivar p50: median time of single queries in ms, encoding and fetching of texts included; ``p95`` and ``p99``
        likewise.
    :ivar queries_per_second: of the same queries in batches of 256.
    """

    p50: float
    p95: float
    p99: float
    queries_per_second: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Latency by mode, and of ``reranked``; encoding rates in texts per second (None without towers)."""

    latency: dict[str, Latency]
    queries_encoded_per_second: float | None
    documents_encoded_per_second: float | None


def measure_speed(
    retriever: Retriever,
    queries: Sequence[str],
    documents: Sequence[str],
    *,
    k: int = 10,
    repeats: int = 200,
    second: SecondStage | None = None,
) -> Speed:
    """Measure every mode that the retriever supports, and both towers.

    :param queries: query texts, reused in turn until ``repeats`` are reached.
    :param documents: texts to encode, as long as real ones; a few hundred are enough.
    :param second: a second stage to measure too, after the default mode.
    :raises UsageError: as :func:`measure_latency`.
    """
    modes = [mode for mode in MODES if mode == "bm25" or retriever.searches_vectors]
    latency: dict[str, Latency] = {
        mode: measure_latency(retriever, queries, mode=mode, k=k, repeats=repeats) for mode in modes
    }
    if second is not None:
        latency["reranked"] = measure_latency(retriever, queries, mode=None, k=k, repeats=repeats, second=second)
    if retriever.encoder is None:
        return Speed(latency, None, None)
    return Speed(
        latency,
        _rate(retriever.encode_queries, list(islice(cycle(queries), max(repeats, len(queries))))),
        _rate(retriever.encode_documents, documents) if documents else None,
    )


def measure_latency(
    retriever: Retriever,
    queries: Sequence[str],
    *,
    mode: Mode | None = "hybrid",
    k: int = 10,
    repeats: int = 200,
    fusion: Fusion | None = None,
    second: SecondStage | None = None,
) -> Latency:
    """Time single queries, then the same queries in batches, after a warm-up.

    :param mode: None for the index's own.
    :param fusion: instead of the retriever's.
    :param second: how hits are ranked again; at most 40 queries are timed then.
    :raises UsageError: if there is no query, or ``repeats`` is below 1.
    """
    if not queries or repeats < 1:
        raise UsageError(f"latency needs at least one query and one repeat; got {len(queries)} and {repeats}")
    again: dict[str, Any] = {"rerank": False}
    if second is not None:
        repeats = min(repeats, _RERANKED)
        again = {"rerank": second.rerank or False, "rerank_depth": second.depth, "diversity": second.diversity}

    def answer(batch: Sequence[str]) -> object:
        return retriever.search_many(batch, k, mode=mode, fusion=fusion, **again)

    texts = list(islice(cycle(queries), repeats))
    for text in islice(cycle(queries), _warm_up(repeats)):
        answer([text])
    milliseconds = []
    for text in texts:
        started = perf_counter_ns()
        answer([text])
        milliseconds.append((perf_counter_ns() - started) / 1e6)
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99)).tolist()
    return Latency(p50, p95, p99, _rate(answer, texts))


def measure_encoding(retriever: Retriever) -> float | None:
    """Return how many of the index's first documents its towers encode in a second; None without either."""
    documents = retriever.engine.documents()
    texts = [document.searchable_text for document in islice(documents, _ENCODED)]
    return _rate(retriever.encode_documents, texts) if texts and retriever.encoder is not None else None


def measure_memory(folder: Path, queries: Sequence[str], *, mode: Mode, model: Path | None = None) -> int | None:
    """Return what opening an index in a folder and searching adds to a process at most, in bytes; None if not known.

    The towers, read files that are mapped and the work of single searches are in it, the libraries are not. It is
    measured in a process of its own, on Linux alone.
    """
    if not _STATUS.exists():
        return None
    asked = {"folder": str(folder), "model": str(model or ""), "mode": mode, "queries": list(queries[:_WARM_UP])}
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, input=json.dumps(asked).encode(), capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None


def _search_and_tell() -> None:
    """Do what standard input asks for, and print by how many bytes the process grew."""
    from hybrid_search.engines import embedded  # noqa: F401 - the libraries, which do not count
    from hybrid_search.opening import open_retriever
    from hybrid_search.towers.onnx import encoder  # noqa: F401

    asked = json.load(sys.stdin)
    before = _largest()
    with open_retriever(asked["folder"], model=Path(asked["model"]) if asked["model"] else None) as retriever:
        for query in asked["queries"]:
            retriever.search(query, mode=asked["mode"], rerank=False)
    sys.stdout.write(f"{max(_largest() - before, 0)}\n")


def _largest() -> int:
    """Return the most memory that this process has had resident; ``ru_maxrss`` begins with that of its parent."""
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) * 1024


def _warm_up(repeats: int) -> int:
    return min(_WARM_UP, 1 + repeats // 10)


def _rate(work: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    work(texts[: _warm_up(len(texts))])
    started = perf_counter_ns()
    for first in range(0, len(texts), _BATCH):
        work(texts[first : first + _BATCH])
    return len(texts) / max(perf_counter_ns() - started, 1) * 1e9


if __name__ == "__main__":
    _search_and_tell()
