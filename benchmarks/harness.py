"""What every benchmark shares: where the data lies, what the machine is, how results are written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_search.loaders.registry import open_dataset
from hybrid_search.types import Document, Query

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).with_name("results")
LIBRARIES = ("numpy", "tantivy", "faiss-cpu", "onnxruntime", "tokenizers", "torch")


def need_data() -> Path:
    """Return the folder of real data sets, or say what is missing and end."""
    if not (DATA / "msmarco-passage" / "collection.tsv").exists():
        raise SystemExit(f"this benchmark needs the data sets in {DATA}; they may not be redistributed with the code")
    return DATA


def read_documents(name: str, folder: str) -> list[Document]:
    """Read a data set's documents."""
    return list(open_dataset(name, need_data() / folder, reject=lambda rejection: None).documents())


def passages() -> list[Document]:
    """Read 41,751 real MS MARCO passages: the pooled ones of TREC DL 2019, and 27,170 of version 2."""
    second = need_data() / "msmarco-v2-passages" / "collection.tsv"
    return list(chain(read_documents("msmarco_passage", "msmarco-passage"), _version_two(second)))


def _version_two(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            identity, _, text = line.rstrip("\n").partition("\t")
            yield Document(identity, text)


def real_queries(count: int) -> list[str]:
    """Read real queries (MS MARCO dev.small), a fixed sample."""
    dataset = open_dataset("msmarco_passage", need_data() / "msmarco-passage", reject=lambda rejection: None)
    queries: list[Query] = list(dataset.queries("dev.small"))
    chosen = np.random.default_rng(0).choice(len(queries), count, replace=False)
    return [queries[i].text for i in sorted(chosen)]


def milliseconds(call: Callable[[Any], object], arguments: list[Any]) -> dict[str, float]:
    """Time one call after another, the first tenth for warming up only; p50, p95 and p99 in ms."""
    [taken] = milliseconds_in_turn([call], arguments)
    return taken


def milliseconds_in_turn(calls: Sequence[Callable[[Any], object]], arguments: list[Any]) -> list[dict[str, float]]:
    """Time several calls, each with one argument after another, turn by turn; otherwise as :func:`milliseconds`."""
    taken: list[list[float]] = [[] for _ in calls]
    for argument in arguments:
        for call, of_call in zip(calls, taken, strict=True):
            started = time.perf_counter()
            call(argument)
            of_call.append((time.perf_counter() - started) * 1_000)
    return [{f"p{q}": round(float(np.percentile(one[len(one) // 10 :], q)), 4) for q in (50, 95, 99)} for one in taken]


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_start": round(os.getloadavg()[0], 2),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def write_result(name: str, figures: dict[str, Any], *, command: str, seed: int = 0, show: bool = True) -> None:
    """Write the figures of a benchmark and print them, unless they are too long to ``show``."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    record = {
        "benchmark": name,
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "seed": seed,
        "machine": machine(),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    if show:
        print(json.dumps(figures, indent=2))
