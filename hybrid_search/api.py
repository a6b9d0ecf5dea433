"""The library's front door: open an index, search it, fill it. Layer 6; heavy imports are inside the functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybrid_search.protocols import Dataset
    from hybrid_search.retriever import Retriever
    from hybrid_search.workflows.loading import LoadOptions, LoadReport
    from hybrid_search.workflows.training import TrainRequest, TrainSummary

__all__ = ["load", "open", "train"]


def open(location: str | Path, *, model: str | Path | None = None, writable: bool = False) -> Retriever:
    """Open an index with the towers that it carries.

    :param location: the index's folder.
    :param model: a checkpoint to use instead; refused unless it is the one that made the index's vectors.
    :param writable: also for adding and deleting; one process at a time can have this.
    :raises IndexNotFound: if there is no index at the location.
    :raises IndexLocked: if ``writable`` and another process is writing.
    :raises ModelMismatch: if the model is not the index's.
    """
    from hybrid_search.workflows.locations import open_retriever

    return open_retriever(location, model=Path(model) if model else None, writable=writable)


def train(dataset: Dataset, out: str | Path, request: TrainRequest | None = None) -> TrainSummary:
    """Train towers on a data set and write a checkpoint; see :func:`hybrid_search.workflows.training.train`."""
    from hybrid_search.workflows import training

    return training.train(dataset, Path(out), request)


def load(
    dataset: Dataset, location: str | Path, *, model: str | Path | None = None, options: LoadOptions | None = None
) -> LoadReport:
    """Index a data set's documents; see :func:`hybrid_search.workflows.loading.load`."""
    from hybrid_search.workflows import loading

    return loading.load(dataset, location, model=Path(model) if model else None, options=options)
