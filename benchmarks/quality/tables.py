"""The figures of ``benchmarks.quality`` as rows of docs/studies/recipes.md: ``python -m benchmarks.quality.tables``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS
from benchmarks.quality.sets import NAMES

HEADER = (
    "| row | seeds | (a) towers / hybrid | (b) | (c) | recall@100 (a), (b), (c) | minutes, MB |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print a row for each result that there is."""
    print(HEADER)
    for file in sorted(RESULTS.glob("quality_*.json")):
        if runs := json.loads(file.read_text())["figures"].get("runs"):
            print(row(file.stem.removeprefix("quality_"), runs))


def row(name: str, runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the row of one result: of each figure the mean over the seeds (lowest to highest)."""
    seeds = list(runs.values())
    cells = [
        " / ".join(_spread(_of(seeds, set_name, system, "nDCG@10")) for system in ("knn", "hybrid"))
        for set_name in NAMES
    ]
    recall = ", ".join(_short(float(np.mean(_of(seeds, set_name, "hybrid", "R@100")))) for set_name in NAMES)
    minutes = _ends(f"{run['seconds']['whole'] / 60:.1f}" for run in seeds)
    megabytes = round(float(np.mean([run["megabytes"] for run in seeds])))
    return f"| `{name}` | {len(seeds)} | {' | '.join(cells)} | {recall} | {minutes}, {megabytes} |"


def _of(seeds: Sequence[Mapping[str, Any]], set_name: str, system: str, measure: str) -> list[float]:
    return [run["sets"][set_name]["test"][system][measure] for run in seeds]


def _spread(values: Sequence[float]) -> str:
    mean = _short(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} ({_short(min(values))} to {_short(max(values))})"


def _ends(values: Iterable[str]) -> str:
    ordered = sorted(set(values), key=float)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
