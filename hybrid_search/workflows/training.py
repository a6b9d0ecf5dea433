"""From a data set to a checkpoint: corpus, tokens, word vectors, negatives, towers, fitted defaults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hybrid_search.config import TowerConfig, TrainConfig
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.protocols import Dataset, Progress, Tracker, silent
from hybrid_search.storage import disk_errors, replace_folder
from hybrid_search.towers.checkpoint import save_checkpoint, set_defaults, strangers_in
from hybrid_search.towers.model_card import MODEL_FILE, ModelCard, ServingDefaults
from hybrid_search.towers.two_tower import TwoTower, seeded_towers
from hybrid_search.training.alignment import Alignment
from hybrid_search.training.data import Corpus, Tokens, TrainingData, build_training_data, build_validation_data
from hybrid_search.training.distillation import read_teacher_scores
from hybrid_search.training.loop import TrainReport, train_towers
from hybrid_search.training.negatives_file import read_header
from hybrid_search.training.tracking import EveryTracker, JsonlTracker
from hybrid_search.types import Rejection
from hybrid_search.workflows.corpus import open_corpus
from hybrid_search.workflows.examples import Split, gather
from hybrid_search.workflows.fitting import FitReport, fit_defaults
from hybrid_search.workflows.hard_negatives import collect_negatives, needs_dense_file
from hybrid_search.workflows.teaching import Teaching
from hybrid_search.workflows.vocabulary import Vocabulary, learn_vocabulary
from hybrid_search.workflows.work import WorkFolder

__all__ = ["TrainRequest", "TrainSummary", "train"]

LOG = "log.jsonl"
"""The run's numbers, in the checkpoint too."""

Reject = Callable[[Rejection], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, and on what.

    :ivar source: names the data beyond the loader (its path); an unfinished run on other data is not gone on with.
    :ivar split: what to train on; a query whose text is in any other split is left out.
    :ivar negatives_files: files of ``mine``; their sources are not mined again.
    :ivar queries_file: further queries without answers, one a line, for the teacher.
    :ivar teacher_cache: where teachers' vectors are kept; None for the user's cache folder.
    :ivar restart: throw away an unfinished run instead of going on with it, and replace a finished model.
    :ivar keep_work: keep the work folder (index, negatives, log) after the end.
    """

    towers: TowerConfig = field(default_factory=TowerConfig)
    config: TrainConfig = field(default_factory=TrainConfig)
    source: str = ""
    split: str = "train"
    negatives_files: tuple[Path, ...] = ()
    queries_file: Path | None = None
    teacher_cache: Path | None = None
    restart: bool = False
    keep_work: bool = False


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What came out. ``validation`` has the nDCG@10 of each system on the held-out training queries."""

    model: str
    fingerprint: str
    seconds: float
    steps: int
    best_step: int
    stopped_because: str
    vocabulary_size: int
    examples: Mapping[str, int]
    validation: Mapping[str, float]
    defaults: Mapping[str, Any]
    notes: Sequence[str]


def train(
    dataset: Dataset,
    out: Path,
    request: TrainRequest | None = None,
    *,
    tracker: Tracker | None = None,
    reject: Reject = lambda rejection: None,
    progress: Progress = silent,
    say: Say = lambda text: None,
) -> TrainSummary:
    """Train two towers on a data set and write a checkpoint.

    An interrupted run leaves ``OUT.work``; the same call goes on from there and ends with the same weights.

    :param out: folder of the checkpoint; an older one there is replaced when the new one is complete.
    :param tracker: takes the run's numbers beside the checkpoint's own ``log.jsonl``; closed at the end.
    :param reject: called with each record that can't be used.
    :raises UsageError: if ``out`` holds a finished model and ``restart`` is not set, or holds anything else, or a
        file or split is not there.
    :raises TrainingError: if there is nothing to train on, or training can't go on.
    :raises ResumeMismatch: if ``OUT.work`` holds an unfinished run with other arguments.
    """
    request = request or TrainRequest()
    work = WorkFolder(out)
    _check_request(dataset, out, request, work)
    if work.claim(
        f"{dataset.name} {request.source}".strip(),
        request.split,
        request.towers,
        request.config,
        negatives_files=request.negatives_files,
        restart=request.restart,
    ):
        say(f"going on with the unfinished run in {work.path}")
    engine = open_corpus(dataset, work, reject=reject, progress=progress)
    try:
        split = gather(dataset, engine, request.config, split=request.split, queries_file=request.queries_file, say=say)
        teaching = _teaching(engine, split, request, progress, say)
        vocabulary = learn_vocabulary(
            lambda: split.texts(engine),
            work.path,
            request.towers,
            request.config,
            count=engine.count() + len(split.training),
            progress=progress,
            teach=teaching.word_vectors if teaching else None,
        )
        alignment = teaching.alignment(vocabulary.tokenizer, _tokens(vocabulary, request)) if teaching else None
        data = _prepare(
            engine, split, vocabulary, request, work, alignment=alignment, reject=reject, progress=progress, say=say
        )
        towers = _new_towers(request, vocabulary)
        log = JsonlTracker(work.log)
        trackers = EveryTracker(log, tracker) if tracker else log
        try:
            report = train_towers(towers, data, request.config, work=work.path, tracker=trackers, progress=progress)
        finally:
            trackers.close()
        _write(work.model, towers, vocabulary, request, report, data)
        fit = fit_defaults(
            engine, work, split.training, split.validation, positives=split.pairs.positives, progress=progress
        )
        card = _publish(work, out, fit)
    finally:
        engine.close()
    if not request.keep_work:
        work.remove()
    return _summary(out, card, report, fit, split, vocabulary)


def _check_request(dataset: Dataset, out: Path, request: TrainRequest, work: WorkFolder) -> None:
    """Find now what would otherwise be found after minutes of work."""
    if (out / MODEL_FILE).exists() and not request.restart and not work.path.exists():
        raise UsageError(f"{out} holds a finished model; --restart trains again and replaces it, or give another --out")
    if strangers := strangers_in(out):
        raise UsageError(f"{out} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder")
    for file in (
        *request.negatives_files,
        *([Path(request.config.teacher_scores)] * bool(request.config.teacher_scores)),
    ):
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file")
    if request.split not in dataset.splits() and (request.config.loss != "align" or dataset.splits()):
        splits = ", ".join(dataset.splits()) or "none"
        raise UsageError(f"{dataset.name} has no split {request.split!r} with queries; there are: {splits}")
    if needs_dense_file(request.config) and "dense" not in {
        read_header(file).source for file in request.negatives_files
    }:
        raise UsageError(
            "dense negatives come from a trained index: run `hybrid-search mine --mode knn` and give its file "
            "with --negatives-file"
        )


def _teaching(
    engine: EmbeddedEngine, split: Split, request: TrainRequest, progress: Progress, say: Say
) -> Teaching | None:
    if not request.config.teacher:
        return None
    return Teaching(
        engine, split, request.towers, request.config, cache=request.teacher_cache, progress=progress, say=say
    )


def _prepare(
    engine: EmbeddedEngine,
    split: Split,
    vocabulary: Vocabulary,
    request: TrainRequest,
    work: WorkFolder,
    *,
    alignment: Alignment | None,
    reject: Reject,
    progress: Progress,
    say: Say,
) -> TrainingData:
    """Turn examples, negatives and the validation corpus into arrays of tokens."""
    config, tokens = request.config, _tokens(vocabulary, request)
    negatives = collect_negatives(
        engine, split.pairs, split.training, config,
        work=work, files=request.negatives_files, reject=reject, progress=progress, say=say,
    )  # fmt: skip
    validation = build_validation_data(
        split.validation, tokens, positives=split.pairs.positives, others=engine.documents(),
        max_queries=config.validation_queries, max_documents=config.validation_documents, seed=config.seed,
    )  # fmt: skip
    teacher = read_teacher_scores(Path(config.teacher_scores), reject) if config.teacher_scores else None
    return build_training_data(
        split.training, tokens, Corpus(engine.get, split.documents(engine)), positives=split.pairs.positives,
        negatives=negatives, teacher=teacher, validation=validation, alignment=alignment,
    )  # fmt: skip


def _tokens(vocabulary: Vocabulary, request: TrainRequest) -> Tokens:
    towers, tokenizer = request.towers, vocabulary.tokenizer
    return Tokens(
        queries=lambda texts: tokenizer.encode(texts, towers.max_query_tokens),
        documents=lambda texts: tokenizer.encode(texts, towers.max_document_tokens),
    )


def _new_towers(request: TrainRequest, vocabulary: Vocabulary) -> TwoTower:
    known = vocabulary.word_vectors
    return seeded_towers(
        request.towers,
        vocabulary.tokenizer.vocabulary_size,
        vectors=known.vectors,
        counts=known.counts,
        seed=request.config.seed,
    )


def _write(
    folder: Path,
    towers: TwoTower,
    vocabulary: Vocabulary,
    request: TrainRequest,
    report: TrainReport,
    data: TrainingData,
) -> None:
    training = {
        "split": request.split,
        "settings": msgspec.to_builtins(request.config),
        "data": dict(data.report),
        "report": msgspec.to_builtins(report),
        "numpy": np.__version__,
    }
    save_checkpoint(
        folder, towers, vocabulary.tokenizer,
        untrained=vocabulary.word_vectors, training=training, defaults=ServingDefaults(),
    )  # fmt: skip


def _publish(work: WorkFolder, out: Path, fit: FitReport) -> ModelCard:
    """Store the fitted defaults and the log in the checkpoint, and put it in its place."""
    card = set_defaults(work.model, fit.defaults)
    if work.log.exists():
        with disk_errors(f"writing {work.model / LOG}"):
            shutil.copyfile(work.log, work.model / LOG)
    replace_folder(work.model, out)
    return card


def _summary(
    out: Path, card: ModelCard, report: TrainReport, fit: FitReport, split: Split, vocabulary: Vocabulary
) -> TrainSummary:
    notes = list(fit.notes)
    if report.best_step == 0 and report.steps:
        notes.insert(0, "training did not improve on the untrained towers; more examples or a lower rate may help")
    return TrainSummary(
        model=str(out),
        fingerprint=card.fingerprint,
        seconds=round(report.seconds, 1),
        steps=report.steps,
        best_step=report.best_step,
        stopped_because=report.stopped_because,
        vocabulary_size=vocabulary.tokenizer.vocabulary_size,
        examples=dict(split.pairs.report),
        validation=fit.validation,
        defaults=msgspec.to_builtins(card.defaults),
        notes=notes,
    )
