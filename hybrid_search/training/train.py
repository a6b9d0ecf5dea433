"""Trains a model: from a data set by corpus, tokens, word vectors, negatives and towers to fitted defaults."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import msgspec

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import HybridSearchError, ResumeMismatch, SearchIndexError, StorageError, UsageError
from hybrid_search.protocols import Dataset, Progress, Reporter, Tracker, silent
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.storage import check_outside_indexes, disk_errors, replace_folder
from hybrid_search.towers.checkpoint import set_defaults, strangers_in
from hybrid_search.towers.model_card import MODEL_FILE, ModelCard
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.corpus import open_corpus
from hybrid_search.training.forgetting import Forgetting, measure_forgetting
from hybrid_search.training.hard_negatives import collect_negatives, needs_dense_file
from hybrid_search.training.negatives.file import read_header
from hybrid_search.training.request import TrainRequest, TrainSummary
from hybrid_search.training.resume import WorkFolder
from hybrid_search.training.rounds import Refreshing, best_of, check_refresh
from hybrid_search.training.run import Reject, Round, Say, TrainingRun, tokens_of
from hybrid_search.training.split import NO_SPLIT, Split, gather
from hybrid_search.training.start import Start, settled, told_of_words
from hybrid_search.training.teacher.vectors import FILE_SUFFIX, AxesFit, Teaching, axes_of_towers
from hybrid_search.training.tracking import EveryTracker, JsonlTracker
from hybrid_search.training.vocabulary import Vocabulary, learn_vocabulary

__all__ = ["TrainRequest", "TrainSummary", "train"]

_LABELS = "labels"

LOG = "log.jsonl"
"""File with the run's metrics, also in the checkpoint."""


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

    An interrupted run leaves ``OUT.work``; the same call on the same data continues it and ends with the same weights.
    A run that fails before any tower was trained leaves nothing.

    :param out: folder of the checkpoint; an existing checkpoint is replaced when the new one is complete.
    :param tracker: receives the run's metrics in addition to ``log.jsonl`` of the checkpoint; closed at the end.
    :param reject: called with each record that can't be used.
    :param say: called with messages for people.
    :raises UsageError: if ``out`` contains a finished model and ``restart`` is not set, or contains other files, or if
        a file or split does not exist.
    :raises TrainingError: if there is nothing to train on, or training can't continue.
    :raises ResumeMismatch: if ``OUT.work`` contains an unfinished run with other arguments or data that has already
        trained towers.
    :raises IndexLocked: if another process is training there.
    """
    started = perf_counter()
    work = WorkFolder(out)
    work.finish_removing()
    request = request or TrainRequest()
    job = _Job(dataset, request, *settled(request), work, Reporter(progress, say, reject))
    _check_request(job, out)
    try:
        engine, split = _begun(job)
        log = JsonlTracker(work.log)
        trackers = EveryTracker(log, tracker) if tracker else log
        with closing(engine), closing(trackers):
            run = _prepared(engine, split, job, trackers)
            rounds = [_first_round(run, job.request)]
            if job.config.refresh:
                rounds += Refreshing(run, job.request.negatives_files, run.teaching).rounds(rounds[0])
            best = best_of(rounds)
            forgotten = _forgotten(job, best)
            card = _publish(work, out, best, forgotten)
    except KeyboardInterrupt as interruption:
        if work.is_claimed:
            interruption.add_note(f"{work.path} holds what is done; the same command goes on from there")
        raise
    except HybridSearchError as error:
        _leave_nothing(work, error)
        raise
    if not job.request.keep_work:
        work.remove()
    summary = _summary(out, card, run, best, rounds, seconds=perf_counter() - started)
    if job.start is None or forgotten is None:
        return summary
    return replace(
        summary,
        notes=[*summary.notes, forgotten.note(job.start.name)],
        parents=run.parents,
        old_validation=forgotten.values(),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """What to train, with all settings decided.

    :ivar start: the model to start from; None for new towers.
    """

    dataset: Dataset
    request: TrainRequest
    start: Start | None
    towers: TowerConfig
    config: TrainConfig
    work: WorkFolder
    reporter: Reporter

    @property
    def fingerprint(self) -> str:
        """Of the model to start from; empty for new towers."""
        return self.start.card.fingerprint if self.start else ""


def _prepared(engine: EmbeddedEngine, split: Split, job: _Job, trackers: Tracker) -> TrainingRun:
    """Learn the vocabulary and word vectors, or take them over; return the run that trains the towers."""
    config, reporter, start = job.config, job.reporter, job.start
    teaching = vocabulary = None
    if config.teacher:
        teaching = Teaching(
            engine, split, job.towers, config,
            cache=job.request.teacher_cache, reporter=reporter, fit=_axes_fit(start, config.teacher),
        )  # fmt: skip
    if start:
        vocabulary = Vocabulary(start.tokenizer)
        reporter.say(
            f"going on from {start.name}, model {job.fingerprint[:12]}; "
            + told_of_words(vocabulary.tokenizer, split.documents(engine))
        )
        if not split.training and teaching is None:
            kept = f"{config.adapt_share:.0%} is kept (training.adapt_share)"
            reporter.say(
                f"there are neither labels nor a teacher: of what documents alone teach {kept}. That gains little, "
                f"and only where a corpus has words of its own (docs/en.md); compare with {start.name} as it is"
            )
    else:
        vocabulary = learn_vocabulary(
            lambda: split.texts(engine),
            job.work.path,
            job.towers,
            config,
            count=engine.count() + len(split.training),
            progress=reporter.progress,
            teach=teaching.word_vectors if teaching and config.word_vectors.algorithm == "teacher" else None,
        )
    return TrainingRun(
        engine=engine, split=split, vocabulary=vocabulary, towers=job.towers, config=config, work=job.work,
        tracker=trackers, reporter=reporter, start=start, source=job.request.source, teaching=teaching,
    )  # fmt: skip


def _axes_fit(start: Start | None, teacher: str) -> AxesFit | None:
    """Return what finds the axes in which trained towers are taught; None for new towers."""
    if start is None:
        return None
    return axes_of_towers(start.axes_of(teacher), OnnxEncoder.load(start.folder).encode_documents)


def _forgotten(job: _Job, best: Round) -> Forgetting | None:
    """Measure what was lost on the old validation queries; None for new towers."""
    if job.start is None:
        return None
    return measure_forgetting(job.start, best.model, job.request.old_data, job.config, job.reporter)


def _begun(job: _Job) -> tuple[EmbeddedEngine, Split]:
    """Continue an interrupted run or begin one; return the corpus, opened to write, and the examples."""
    try:
        return _opened(job, restart=job.request.restart)
    except ResumeMismatch as mismatch:
        if job.work.has_trained:
            raise
        job.reporter.say(f"{str(mismatch).partition(';')[0]}; nothing was trained there yet, so this run begins anew")
    return _opened(job, restart=True)


def _opened(job: _Job, *, restart: bool) -> tuple[EmbeddedEngine, Split]:
    request, config, work, reporter = job.request, job.config, job.work, job.reporter
    files = (*request.negatives_files, *_files_of(config))
    if work.claim(request.split, job.towers, config, files=files, start=job.fingerprint, restart=restart):
        reporter.say(f"going on with the unfinished run in {work.path}")
    engine = open_corpus(job.dataset, work, reporter)
    try:
        split = gather(
            job.dataset, engine, config, split=request.split, queries_file=request.queries_file, say=reporter.say,
            known=job.start.known if job.start else None,
        )  # fmt: skip
        check_refresh(config, split.training)
        if work.is_done(_LABELS):
            work.check_same(_LABELS, split.digest())
        else:
            work.mark_done(_LABELS, split.digest())
    except BaseException:
        engine.close()
        raise
    return engine, split


def _leave_nothing(work: WorkFolder, error: HybridSearchError) -> None:
    """Remove the work folder of a run that failed before training: the corrected command would not continue it.

    A run that failed because of the disk or another process can be continued, so its folder is kept.
    """
    if (
        not isinstance(error, (StorageError, SearchIndexError, ResumeMismatch))
        and work.is_claimed
        and not work.has_trained
    ):
        work.remove()


def _check_request(job: _Job, out: Path) -> None:
    """Check the arguments, so that faults are not found after minutes of work."""
    dataset, request, config, work = job.dataset, job.request, job.config, job.work
    check_outside_indexes(out)
    if job.start:
        job.start.check_out(out)
    if (out / MODEL_FILE).exists() and not request.restart and not work.path.exists():
        raise UsageError(
            f"{out} holds a finished model; restart=True trains again and replaces it, or give another `out`"
        )
    if strangers := strangers_in(out):
        raise UsageError(f"{out} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder")
    queries = [request.queries_file] if request.queries_file else []
    for file in (*request.negatives_files, *queries, *_files_of(config)):
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file")
    # Without queries the default split means the documents alone, which a name given on purpose does not.
    known = (*(dataset.splits() or (TrainRequest().split,)), NO_SPLIT)
    if request.split not in known:
        raise UsageError(
            f"{dataset.name} has no split {request.split!r} with queries; there are: "
            f"{', '.join(dataset.splits()) or 'none'}; {NO_SPLIT} learns from the documents alone"
        )
    if needs_dense_file(config) and "dense" not in {read_header(file).source for file in request.negatives_files}:
        raise UsageError(
            "dense negatives come from a trained index: run `hybrid-search mine --mode knn` and give its file "
            "as `negatives_files`"
        )


def _files_of(config: TrainConfig) -> list[Path]:
    """Return the files that the settings name."""
    names = [config.teacher_scores, config.teacher if config.teacher.endswith(FILE_SUFFIX) else ""]
    return [Path(name) for name in names if name]


def _first_round(run: TrainingRun, request: TrainRequest) -> Round:
    config, vocabulary = run.config, run.vocabulary
    alignment = None
    if run.teaching:
        alignment = run.teaching.alignment(vocabulary.tokenizer, tokens_of(vocabulary, run.towers))
    negatives = collect_negatives(
        run.engine, run.split.pairs, run.split.training, config,
        work=run.work, files=request.negatives_files, reporter=run.reporter,
    )  # fmt: skip
    data = run.data(config, negatives, alignment)
    report, fit = run.train(run.new_towers(), data, config, run.work.path, tracker=run.tracker)
    return Round(0, run.work.model, report, fit)


def _publish(work: WorkFolder, out: Path, best: Round, forgotten: Forgetting | None) -> ModelCard:
    """Store the fitted defaults, the figures and the log in the best round's checkpoint, and move it to ``out``."""
    card = set_defaults(
        best.model, best.fit.defaults,
        measured=best.fit.validation, old_validation=forgotten.figures() if forgotten else None,
    )  # fmt: skip
    if work.log.exists():
        with disk_errors(f"writing {best.model / LOG}"):
            shutil.copyfile(work.log, best.model / LOG)
    replace_folder(best.model, out)
    return card


def _summary(
    out: Path, card: ModelCard, run: TrainingRun, best: Round, rounds: Sequence[Round], *, seconds: float
) -> TrainSummary:
    report, notes = best.report, [*best.fit.notes, *run.reading.notes()]
    if report.best_step == 0 and report.steps:
        notes.insert(
            0, "training did not improve on the towers that it began with; more examples or a lower rate may help"
        )
    return TrainSummary(
        model=str(out),
        fingerprint=card.fingerprint,
        seconds=round(seconds, 1),
        training_seconds=round(sum(each.report.seconds for each in rounds), 1),
        steps=report.steps,
        best_step=report.best_step,
        stopped_because=report.stopped_because,
        vocabulary_size=run.vocabulary.tokenizer.vocabulary_size,
        examples=dict(run.split.pairs.report),
        validation=best.fit.validation,
        defaults=msgspec.to_builtins(card.defaults),
        notes=notes,
        rounds=[] if len(rounds) == 1 else [each.told(is_kept=each is best) for each in rounds],
        by_query=best.fit.by_query,
    )
