"""Recognises what a report is made of: the JSON that the verbs and the benchmarks write, and the logs of trainings.

The files are not trusted: each is read up to a size and into types, and one that fits nothing is named and left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.compare import Compared
from hybrid_search.evaluation.diagnose import Diagnosis
from hybrid_search.evaluation.latency import Latency
from hybrid_search.evaluation.significance import Comparison
from hybrid_search.evaluation.wins_and_losses import QueryExample
from hybrid_search.training.fit.tune import TuneReport

__all__ = ["Benchmark", "Evaluated", "Inputs", "Swept", "Training", "growth", "read_inputs", "timings"]

_LARGEST = 64 << 20
_LONGEST_NAME = 60
_CHECKPOINT = "model.json"


@dataclass(frozen=True, slots=True)
class Training:
    """A training's curves.

    :ivar series: name of a value -> (step, value), in order of the steps.
    """

    series: Mapping[str, Sequence[tuple[float, float]]]


class _Significance(msgspec.Struct, frozen=True):
    measure: str
    systems: dict[str, Comparison]


class _Examples(msgspec.Struct, frozen=True):
    wins: list[QueryExample] = []
    losses: list[QueryExample] = []


class _Against(msgspec.Struct, frozen=True):
    wins: int
    ties: int
    losses: int
    measure: str = ""
    examples: _Examples = _Examples()
    changes: dict[str, float] = {}


class Evaluated(msgspec.Struct, frozen=True):
    """What ``evaluate --format json`` printed."""

    systems: dict[str, dict[str, float]]
    significance: _Significance
    split: str = ""
    counts: dict[str, int] = {}
    latency_ms: dict[str, dict[str, float]] = {}
    against_bm25: _Against | None = None


class Trial(msgspec.Struct, frozen=True):
    """One training of a sweep; ``measure`` is None unless it is complete."""

    number: int
    state: str
    settings: dict[str, Any]
    measure: float | None = None
    seconds: float = 0.0


class Swept(msgspec.Struct, frozen=True):
    """What ``sweep --format json`` printed."""

    measure: str
    best: int
    trials: list[Trial]
    importance: dict[str, float] = {}
    queries: int = 0
    checked_on: str = ""
    checked: dict[str, Comparison] = {}


class Benchmark(msgspec.Struct, frozen=True):
    """A file of ``benchmarks/results``."""

    benchmark: str
    figures: dict[str, Any]
    command: str = ""
    date: str = ""
    machine: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was found, each under the name of its file or folder, and which files could not be used, with the reason."""

    trainings: Mapping[str, Training] = field(default_factory=dict)
    comparisons: Mapping[str, Compared] = field(default_factory=dict)
    evaluations: Mapping[str, Evaluated] = field(default_factory=dict)
    diagnoses: Mapping[str, Diagnosis] = field(default_factory=dict)
    tunings: Mapping[str, TuneReport] = field(default_factory=dict)
    sweeps: Mapping[str, Swept] = field(default_factory=dict)
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[tuple[str, str]]:
        """What a report could show and this one can't, and the command that would write it."""
        return [(what, command) for name, what, command in _WANTED if not getattr(self, name)]


_WANTED = (
    ("trainings", "training curves", "hybrid-search train DATASET --out MODEL"),
    ("comparisons", "a comparison of systems", "hybrid-search compare DATASET SYSTEM… --format json > compared.json"),
    ("evaluations", "wins and losses of queries", "hybrid-search evaluate DATASET --from INDEX --format json > x.json"),
    ("diagnoses", "cosines and findings", "hybrid-search diagnose INDEX DATASET --format json > diagnosed.json"),
    ("tunings", "a choice of the fusion", "hybrid-search tune INDEX DATASET --format json > tuned.json"),
    ("sweeps", "trials of a sweep", "hybrid-search sweep DATASET --out STUDY --format json > swept.json"),
    ("benchmarks", "latency and growth", "python -m benchmarks.search, in a checkout"),
)  # fmt: skip

_KINDS: tuple[tuple[frozenset[str], str, type[Any]], ...] = (
    (frozenset({"rows", "baseline", "measures"}), "comparisons", Compared),
    (frozenset({"systems", "significance"}), "evaluations", Evaluated),
    (frozenset({"findings", "sampled"}), "diagnoses", Diagnosis),
    (frozenset({"techniques", "checked"}), "tunings", TuneReport),
    (frozenset({"trials", "best", "importance"}), "sweeps", Swept),
    (frozenset({"benchmark", "figures"}), "benchmarks", Benchmark),
)
"""Names that such a file has at its top, the kind, and its type."""


def read_inputs(paths: Sequence[Path]) -> Inputs:
    """Read files and folders; of a folder the files in it, and the checkpoints that it is or has.

    :raises UsageError: if a path does not exist.
    :raises DataError: if there is nothing to show.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name, _, _ in _WANTED}
    unused: dict[str, str] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        for one in _files(path):
            name = _free_name(one, found)
            try:
                kind, value = _read(one)
            except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
                unused[name] = str(error) or type(error).__name__
                continue
            if kind:
                found[kind][name] = value
            elif one == path:
                unused[name] = "not what a verb, a training or a benchmark writes"
    if not any(found.values()):
        reasons = "; ".join(f"{name}: {why}" for name, why in unused.items()) or "no file of a known kind"
        raise DataError(
            f"there is nothing to report in {', '.join(map(str, paths))} ({reasons}); give checkpoints, and what "
            f"evaluate, compare, diagnose, tune (all in JSON) and the benchmarks wrote"
        )
    return Inputs(**found, unused=unused)


def _files(path: Path) -> Iterator[Path]:
    """Yield what may be an input; links in a folder are not followed."""
    if path.is_file() or _is_checkpoint(path):
        yield path
        return
    for one in sorted(path.iterdir()):
        if one.is_symlink():
            continue
        if (one.is_file() and one.suffix in (".json", ".jsonl")) or (one.is_dir() and _is_checkpoint(one)):
            yield one


def _is_checkpoint(path: Path) -> bool:
    return path.is_dir() and ((path / _CHECKPOINT).is_file() or (path / "log.jsonl").is_file())


def _free_name(path: Path, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a short name that no other input has: never where it lies, which is nobody's business."""
    name = path.resolve().name if path.is_dir() else path.stem
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    taken = {one for kind in found.values() for one in kind}
    return next(one for one in (name, *(f"{name} ({n})" for n in range(2, 10_000))) if one not in taken)


def _read(path: Path) -> tuple[str, Any]:
    """Return the kind of an input and its value; no kind if it is none."""
    if path.is_dir():
        training = _of_checkpoint(path)
        return ("trainings", training) if training.series else ("", None)
    data = _bytes(path)
    if path.suffix == ".jsonl":
        training = _of_log(data)
        return ("trainings", training) if training.series else ("", None)
    top = msgspec.json.decode(data)
    if not isinstance(top, dict):
        return "", None
    for names, kind, type_ in _KINDS:
        if names <= top.keys():
            return kind, msgspec.convert(top, type_)
    if isinstance(top.get("report"), dict) and (curve := _curve(top["report"])).series:
        return "trainings", curve
    return "", None


def _bytes(path: Path) -> bytes:
    if (size := path.stat().st_size) > _LARGEST:
        raise ValueError(f"{size:,} bytes; at most {_LARGEST:,} are read")
    return path.read_bytes()


def _of_checkpoint(folder: Path) -> Training:
    """Read a training's log, or else the curve that the model has."""
    for name, read in (("log.jsonl", _of_log), ("training.json", _of_record)):
        file = folder / name
        if file.is_file() and not file.is_symlink() and (found := read(_bytes(file))).series:
            return found
    return Training({})


def _of_record(data: bytes) -> Training:
    record = msgspec.json.decode(data, type=dict[str, Any]).get("report")
    return _curve(record) if isinstance(record, dict) else Training({})


def _curve(report: Mapping[str, Any]) -> Training:
    points = msgspec.convert(report.get("curve", []), list[tuple[float, float]])
    return Training({"nDCG@10": points} if points else {})


def _of_log(data: bytes) -> Training:
    """Read a tracker's lines; of two with one step the later one counts, a torn last one does not."""
    steps: dict[str, dict[float, float]] = {}
    for line in data.splitlines():
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            continue
        step = record.pop("step", None)
        if not _is_number(step):
            continue
        for name, value in record.items():
            if _is_number(value) and name != "round":
                steps.setdefault(name, {})[step] = value
    return Training({name: sorted(points.items()) for name, points in steps.items()})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def timings(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Latency]]:
    """Find everything in a benchmark's figures that has percentiles in milliseconds, with the path to it."""
    for name, value in figures.items():
        path = f"{above}, {name}" if above else str(name)
        if not isinstance(value, Mapping):
            continue
        p50, p95, p99 = (value.get(key, value.get(f"{key} ms")) for key in ("p50", "p95", "p99"))
        if all(map(_is_number, (p50, p95, p99))):
            yield path, Latency(p50, p95, p99, 0.0)
        else:
            yield from timings(value, path)


_SIZES = ("documents", "passages", "vectors")


def growth(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    """Find what was measured at several sizes: (name of the figure, what is counted, (size, value) by size).

    These are lists of records, each with a number of documents, passages or vectors.
    """
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from growth(value)
        if not (isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value)):
            continue
        size = next((one for one in _SIZES if all(_is_number(record.get(one)) for record in value)), "")
        if not size or len({record[size] for record in value}) < 2:
            continue
        for key in value[0]:
            if key != size and all(_is_number(record.get(key)) for record in value):
                yield f"{name}, {key}", size, sorted((record[size], record[key]) for record in value)
