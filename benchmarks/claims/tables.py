"""The tables of a study, out of its results; what stands around them in the page stays."""

from __future__ import annotations

import base64
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims.arms import BASE, Study
from benchmarks.claims.trainer import LEVELS
from hybrid_search.evaluation.significance import mean_interval

__all__ = ["write_tables"]

SETS = {"squad": "SQuAD", "nfcorpus": "NFCorpus"}
_PLACE = re.compile(r"(<!-- table (\w[\w ]*) -->\n).*?(<!-- end -->)", re.DOTALL)

Runs = Mapping[str, Mapping[str, Any]]
Values = NDArray[np.float64]


def write_tables(study: Study, runs: Runs, page: Path) -> None:
    """Put each table between its marks: ``<!-- table QUESTION -->`` and ``<!-- end -->``."""
    if not page.exists():
        return
    text = page.read_text(encoding="utf-8")
    written = _PLACE.sub(lambda found: f"{found[1]}{_table(study, runs, found[2])}{found[3]}", text)
    page.write_text(written, encoding="utf-8")


def _table(study: Study, runs: Runs, question: str) -> str:
    reference = study.references.get(question, BASE)
    own = (name for name, arm in study.arms.items() if arm.question == question)
    first = [BASE] if study.arms[reference].question == question else [BASE, reference]
    mark = "less *" if reference != BASE else "less base"
    lines = [f"| arm | steps, processor s | SQuAD | {mark} | NFCorpus | {mark} |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys((*first, *own)):
        seeds = _by_seed(runs, name)
        if seeds:
            about = study.arms[name].about
            about = f"base: {about}" if name == BASE else f"{about} *" if name == reference else about
            lines.append(_row(about, seeds, None if name == reference else _by_seed(runs, reference)))
    return "\n".join(lines) + "\n"


def _row(about: str, seeds: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Write one arm's row; ``reference`` is None for the one that the others are compared with."""
    first = next(iter(seeds.values()))
    taken = np.mean([run["processor_seconds"] for run in seeds.values()])
    cells = [about, f"{first['steps']}, {taken:.0f}"]
    for data in SETS:
        means = [run["nDCG@10"][data] for run in seeds.values()]
        cells.append(f"{_short(np.mean(means))} ({_short(min(means))} to {_short(max(means))}; {len(means)})")
        cells.append("" if reference is None else _difference(seeds, reference, data))
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _difference(seeds: Mapping[str, Mapping[str, Any]], base: Mapping[str, Mapping[str, Any]], data: str) -> str:
    """Compare the mean over the seeds of each query's value; the interval is over queries."""
    shared = [seed for seed in seeds if seed in base]
    if not shared:
        return ""
    differences = [_unpacked(seeds[seed]["values"][data]) - _unpacked(base[seed]["values"][data]) for seed in shared]
    mean = np.mean(differences, axis=0)
    interval = mean_interval(mean)
    ends = f" ({_signed(interval[0])} to {_signed(interval[1])})" if interval else ""
    return f"{_signed(mean.mean())}{ends}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def _by_seed(runs: Runs, name: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = defaultdict(dict)
    for key, run in runs.items():
        arm, _, seed = key.rpartition(" ")
        if arm == name:
            found[seed] = run
    return dict(sorted(found.items()))


def _unpacked(packed: str) -> Values:
    return np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8) / LEVELS
