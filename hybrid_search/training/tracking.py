"""Trackers of a run's metrics: a file of JSON lines, or Weights & Biases (extra ``tracking``)."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import MissingExtra
from hybrid_search.protocols import Tracker
from hybrid_search.storage import disk_errors

__all__ = ["EveryTracker", "Histogram", "JsonlTracker", "ShiftedTracker", "WandbTracker"]

_BINS = 64


class Histogram:
    """Many numbers whose spread a tracker may show; they are counted only if it does.

    :param values: of any shape, as they are when they are logged.
    """

    def __init__(self, values: NDArray[np.floating[Any]]) -> None:
        self._values = values

    def counted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return (bins,) counts and (bins + 1,) edges of even bins between the least and the greatest finite value."""
        finite = self._values[np.isfinite(self._values)]
        return np.histogram(finite, bins=_BINS)


class JsonlTracker:
    """Appends a JSON line per call: ``{"step", "time", …values}``. Each is flushed, so a crash loses at most the last.

    An existing file is continued after its last complete line. A resumed run may log some steps again; of two lines
    with the same step the later one is valid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with disk_errors(f"opening {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            _cut_torn_line(path)
            self._file = path.open("ab")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write values at a step, but for histograms; NaN and infinite numbers are written as text.

        :raises StorageError: if the disk is full.
        """
        record = {"step": step, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        record |= {name: _jsonable(value) for name, value in values.items() if not isinstance(value, Histogram)}
        with disk_errors(f"writing {self._path}"):
            self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class EveryTracker:
    """Passes each call to several trackers."""

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record values with all trackers."""
        for tracker in self._trackers:
            tracker.log(step, values)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close()


class ShiftedTracker:
    """Adds the steps of earlier rounds to a later round's, and the round's number to its values."""

    def __init__(self, tracker: Tracker, *, steps: int, number: int) -> None:
        self._tracker, self._steps, self._number = tracker, steps, number

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record values."""
        self._tracker.log(self._steps + step, {"round": self._number, **values})

    def close(self) -> None:
        """Do nothing: the tracker stays open for other rounds."""


class WandbTracker:
    """Logs to Weights & Biases: offline, to be synchronised later, unless the environment says ``WANDB_MODE=online``.

    The project is that of ``WANDB_PROJECT``, else ``hybrid-search``.

    :param group: of several runs that belong together; empty for none.
    :param name: of the run; empty for one that wandb makes up.
    :raises MissingExtra: if wandb is not installed.
    """

    def __init__(self, folder: Path, *, group: str = "", name: str = "") -> None:
        if importlib.util.find_spec("wandb") is None:
            raise MissingExtra("wandb", "tracking")
        import wandb

        self._wandb: Any = wandb
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_MODE", "offline")
        project = os.environ.get("WANDB_PROJECT") or "hybrid-search"
        self._run: Any = wandb.init(project=project, dir=str(folder), group=group or None, name=name or None)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Log numbers and histograms at a step; other values become part of the run's configuration."""
        numbers: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        histograms = {name: value for name, value in values.items() if isinstance(value, Histogram)}
        settings = {name: value for name, value in values.items() if name not in {**numbers, **histograms}}
        numbers |= {name: self._wandb.Histogram(np_histogram=one.counted()) for name, one in histograms.items()}
        if settings:
            self._run.config.update(settings, allow_val_change=True)
        if numbers:
            self._run.log(numbers, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def _jsonable(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
