"""Streams rows of the hub's data sets, and of local folders in its layout, by the ``datasets`` library."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import Any

from hybrid_search.errors import DataError, MissingExtra

__all__ = ["SPLITS", "Rows", "configurations", "open_repository", "require_repository"]

SPLITS = ("train", "validation", "test")
"""The splits, as the hub names them."""

Rows = Mapping[str, Iterable[dict[str, Any]]]
"""Split -> its rows; each iteration starts from the first row."""

_CHATTY = ("datasets", "huggingface_hub", "httpx", "fsspec")
_ANSWER_SECONDS = 10.0
_BATCH = 256


def require_repository(repository: str, instead: str) -> None:
    """Check with one request that the hub has the repository: ``load_dataset`` would retry for half a minute.

    :param instead: what to do without the hub, for the message.
    :raises DataError: if the hub can't be reached or has no such repository.
    """
    _datasets()
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(repository, timeout=_ANSWER_SECONDS)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(f"the hub's data set {repository} can't be reached ({reason}); {instead}") from error


def configurations(repository: str) -> list[str]:
    """Return the names of the configurations of a repository, or of a local folder in the hub's layout.

    :raises DataError: if they can't be read.
    """
    datasets = _datasets()
    with _quiet(datasets), _translated(repository):
        return sorted(datasets.get_dataset_config_names(repository))


def open_repository(repository: str, config: str) -> Rows:
    """Open a configuration of a repository, or of a local folder in the hub's layout, for streaming.

    :raises DataError: if it can't be opened.
    """
    datasets = _datasets()
    with _quiet(datasets), _translated(repository):
        return _by_split(datasets, datasets.load_dataset(repository, config, streaming=True))


def _by_split(datasets: ModuleType, opened: Mapping[str, Any]) -> Rows:
    return {split: _Stream(datasets, split, rows) for split, rows in opened.items()}


class _Stream:
    """One split's rows; errors while they arrive are raised as DataError."""

    def __init__(self, datasets: ModuleType, split: str, rows: Any) -> None:
        self._datasets = datasets
        self._split = split
        self._rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows = iter(self._rows)
        while True:
            # Quiet only while rows are fetched: between batches the caller, or another stream, is at work.
            with _quiet(self._datasets), _translated(f"split {self._split!r}"):
                batch = list(islice(rows, _BATCH))
            if not batch:
                return
            yield from batch


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "train") from error
    return datasets  # type: ignore[no-any-return] # the package ships no types


@contextmanager
def _quiet(datasets: ModuleType) -> Iterator[None]:
    """Silence the progress bars and log messages of the ``datasets`` library inside the block."""
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{what} can't be read by the datasets library: {reason}") from error
