"""What a training is asked for, and what it reports. Needs no torch, so that both can be made and read without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hybrid_search.settings.training import TowerConfig, TrainConfig

if TYPE_CHECKING:
    from hybrid_search.protocols import Dataset

__all__ = ["DEFAULT_START", "DataSource", "OldData", "TrainRequest", "TrainSummary"]

OldData: TypeAlias = "Dataset | Callable[[], Dataset]"
"""A data set, or what opens it, at the end of the training and only if it is needed."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a data set is, so that it can be opened again: the arguments of ``open_dataset``.

    :ivar path: empty for a loader that reads no files.
    :ivar fields: the command line's choice of fields: ``field_id``, ``field_title``, ``field_text``,
        ``field_metadata``.
    """

    loader: str
    path: str = ""
    config: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


DEFAULT_START = "default"
"""The model of the package, unless other towers are asked for."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, and on which part of the data set.

    :ivar towers: architecture; None for that of ``start``, else of the default recipe.
    :ivar config: training settings; None for those of the default recipe, at lower rates with a ``start``.
    :ivar start: a model to go on from, by its folder or, of those that come with the package, by its name: its
        vocabulary, networks and settings of towers are taken over, and the summary says what the new model lost on the
        old one's validation queries. None to begin with new towers. By default as the command line does: the general
        model of the package, or new towers where ``towers`` or ``config`` ask for other ones.
    :ivar old_data: the data set that ``start`` was trained on, or a function that opens it; None if it is not there
        any more, and nothing is measured.
    :ivar source: where the data set is; noted in the model, for a later run that starts from it.
    :ivar split: the split to train on; queries whose text also occurs in another split are left out. With ``none``, or
        a data set without splits, training uses the documents alone.
    :ivar negatives_files: files written by ``mine``; their sources are not mined again.
    :ivar queries_file: a file of further queries without answers, one a line, for the teacher.
    :ivar teacher_cache: folder for the teacher's vectors; None for the user's cache folder.
    :ivar restart: discard an unfinished run instead of continuing it, and replace a finished model.
    :ivar keep_work: keep the work folder (index, negatives, log) after the end.
    """

    towers: TowerConfig | None = None
    config: TrainConfig | None = None
    start: Path | str | None = DEFAULT_START
    old_data: OldData | None = None
    source: DataSource | None = None
    split: str = "train"
    negatives_files: tuple[Path, ...] = ()
    queries_file: Path | None = None
    teacher_cache: Path | None = None
    restart: bool = False
    keep_work: bool = False


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """The result of a training.

    :ivar model: folder of the checkpoint.
    :ivar seconds: duration of this call, from reading the corpus to the checkpoint.
    :ivar training_seconds: duration of the steps alone, including those of an interrupted run before this call.
    :ivar steps: number of steps of the round that was kept; ``best_step`` and ``stopped_because`` likewise.
    :ivar validation: nDCG@10 of each system on the held-out training queries.
    :ivar by_query: the hybrid's nDCG@10 for each of these queries, always in the same order.
    :ivar notes: remarks for people.
    :ivar parents: fingerprints of the models that this one goes back to, the nearest first.
    :ivar old_validation: the towers' nDCG@10 on the validation queries of the model that this one started from,
        ``before`` and ``after``, with the number of ``queries`` and ``documents``; or why it was ``not_measured``.
    :ivar rounds: with ``refresh``, the result of each round, and which was kept.
    """

    model: str
    fingerprint: str
    seconds: float
    training_seconds: float
    steps: int
    best_step: int
    stopped_because: str
    vocabulary_size: int
    examples: Mapping[str, int]
    validation: Mapping[str, float]
    defaults: Mapping[str, Any]
    notes: Sequence[str]
    rounds: Sequence[Mapping[str, Any]] = ()
    parents: Sequence[str] = ()
    old_validation: Mapping[str, Any] = field(default_factory=dict)
    by_query: Sequence[float] = ()
