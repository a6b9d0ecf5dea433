"""Sweeps: trains with many settings, compares the hybrids on held-out training queries, and keeps the best model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.trial import TrialState

from hybrid_search.errors import (
    ConfigError,
    DataError,
    ModelError,
    ResumeMismatch,
    TrainingError,
    UsageError,
)
from hybrid_search.evaluation.compare import CompareRequest, Contender, compare_systems
from hybrid_search.evaluation.evaluate import check_judged
from hybrid_search.evaluation.measures import PRIMARY
from hybrid_search.evaluation.significance import Comparison
from hybrid_search.loading.load import load
from hybrid_search.protocols import Dataset, Progress, Tracker, silent
from hybrid_search.storage import check_outside_indexes
from hybrid_search.training.fit.defaults import FEWEST_QUERIES
from hybrid_search.training.loop.validation import MEASURE
from hybrid_search.training.recipes import TrainSettings
from hybrid_search.training.request import TrainRequest, TrainSummary
from hybrid_search.training.run import Reject, Say
from hybrid_search.training.split import NO_SPLIT
from hybrid_search.training.start import Start, settled, why_fixed
from hybrid_search.training.sweep.optimiser import TrialRow, quiet
from hybrid_search.training.sweep.presets import PRESETS, PresetName
from hybrid_search.training.sweep.space import Sampler, Space, changed, check_space, parse_space
from hybrid_search.training.sweep.study import Plan, Study, Trial
from hybrid_search.training.train import train

__all__ = ["SweepReport", "SweepRequest", "sweep"]

_CHECKED = ("default", "best")

_OF_SETTINGS = (ConfigError, ModelError, TrainingError, RuntimeError, MemoryError)
"""What settings may be to blame for; torch raises the last two, where memory is short for example."""

TrackerOf = Callable[[str], Tracker]
"""Called with a trial's name; returns what its numbers go to, beside ``log.jsonl``."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to try.

    :ivar train: what the trials have in common, and the data: its settings are those of the first trial, its seed is
        that of the sweep too.
    :ivar preset: number of trials, time and space.
    :ivar space: a setting's name -> a list of values, or ``{"low": …, "high": …, "log": …, "step": …}``; None for the
        preset's.
    :ivar sampler: ``tpe`` tries near what was good, ``random`` anywhere, ``grid`` all combinations.
    :ivar prunes: end a trial early whose towers fall short of the median of the others at the same step.
    :ivar trials: number of trials of the study, the default settings included; 0 for the preset's.
    :ivar seconds: no trial begins that would end later, as long as the longest takes; 0 for the preset's, negative for
        no limit.
    :ivar check_on: the split that best and default settings are compared on at the end; empty for ``test`` if there is
        one; ``none`` for no comparison.
    """

    train: TrainRequest = field(default_factory=TrainRequest)
    preset: PresetName = "quick"
    space: Mapping[str, Any] | None = None
    sampler: Sampler = "tpe"
    prunes: bool = True
    trials: int = 0
    seconds: float = 0.0
    check_on: str = ""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep so far.

    :ivar model: folder of the best model.
    :ivar best: number of its trial, ``settings`` what it was trained with, of those that were tried.
    :ivar queries: number of queries that ``measure`` is the mean of, for each trial.
    :ivar gain: mean of the best trial less that of the default settings, on the queries that chose.
    :ivar importance: setting -> how much it has to do with being in the better half of the trials, as a share
        (PED-ANOVA); empty with fewer than eight complete trials.
    :ivar running: trials of other processes that have not ended yet.
    :ivar checked_on: the split of queries that chose nothing; empty if nothing was compared on any.
    :ivar checked: ``default`` and ``best`` -> values on that split, compared with the former.
    """

    folder: str
    model: str
    measure: str
    queries: int
    best: int
    settings: Mapping[str, Any]
    gain: float
    trials: Sequence[TrialRow]
    importance: Mapping[str, float]
    running: int
    seconds: float
    checked_on: str = ""
    checked: Mapping[str, Comparison] = field(default_factory=dict)


def sweep(
    dataset: Dataset,
    out: Path,
    request: SweepRequest | None = None,
    *,
    tracker_of: TrackerOf | None = None,
    reject: Reject = lambda rejection: None,
    progress: Progress = silent,
    say: Say = lambda text: None,
) -> SweepReport:
    """Train with different settings, and keep the model whose hybrid is best on held-out training queries.

    The same call goes on with a sweep that was killed, and several processes may make it at once. The default settings
    are the first trial; others are best only if they gain more than one standard error over them. Queries of other
    splits than the training's choose nothing.

    :param out: folder of the study; ``out/model`` is always the best model so far.
    :raises ConfigError: if a setting to try does not exist, has an invalid value, or can't be compared.
    :raises DataError: if fewer than 10 judged queries can be held out, or none is judged.
    :raises ResumeMismatch: if the folder holds a sweep with other settings, space or labels.
    :raises TrainingError: if the default settings can't be trained with.
    :raises UsageError: if the folder holds other files, or a split does not exist.
    """
    started = monotonic()
    request = request or SweepRequest()
    check_outside_indexes(out)
    job = _Job.of(dataset, request, _Talk(tracker_of, reject, progress, say))
    with quiet():
        study = Study(out, job.plan, job.space, seed=job.base.training.seed)
        while (trial := job.next(study, started)) is not None:
            try:
                job.run(study, trial)
            except BaseException as error:
                study.abandon(trial)
                if isinstance(error, KeyboardInterrupt):
                    # In place of what the training said of its part files, which are removed.
                    error.__notes__ = [f"{out} holds the trials that are done; the same command goes on from there"]
                raise
        study.settle()
        report = _report(out, study, seconds=0.0)
        checked_on, checked = job.checked(study) if not report.running else ("", {})
    return replace(report, checked_on=checked_on, checked=checked, seconds=round(monotonic() - started, 1))


@dataclass(frozen=True, slots=True)
class _Talk:
    """Where a sweep reports to."""

    tracker_of: TrackerOf | None
    reject: Reject
    progress: Progress
    say: Say


@dataclass(frozen=True, slots=True)
class _Job:
    """A sweep with everything decided.

    :ivar check_on: empty for no comparison.
    """

    dataset: Dataset
    request: SweepRequest
    base: TrainSettings
    start: Start | None
    space: Space
    plan: Plan
    trials: int
    seconds: float
    check_on: str
    talk: _Talk

    @classmethod
    def of(cls, dataset: Dataset, request: SweepRequest, talk: _Talk) -> _Job:
        preset = PRESETS[request.preset]
        start, towers, config = settled(request.train)
        base = TrainSettings(towers=towers, training=config)
        space = preset.space(config) if request.space is None else parse_space(request.space)
        check_space(space, base, why_fixed=lambda name: why_fixed(name, start, config))
        _check_splits(dataset, request)
        plan = Plan(
            settings=base,
            start=start.card.fingerprint if start else "",
            split=request.train.split,
            labels=_digest(dataset, request.train.split),
            space=dict(space),
            sampler=request.sampler,
            prunes=request.prunes,
        )
        splits = dataset.splits()
        usual = "test" if "test" in splits and request.train.split != "test" else NO_SPLIT
        check_on = (request.check_on or usual).removeprefix(NO_SPLIT)
        seconds = request.seconds or preset.seconds
        return cls(
            dataset,
            request,
            base,
            start,
            space,
            plan,
            request.trials or preset.trials,
            max(seconds, 0.0),
            check_on,
            talk,
        )

    def next(self, study: Study, started: float) -> Trial | None:
        """Begin the next trial, unless there were enough, or it would end after the time that was given."""
        longest = max((row.seconds for row in study.rows() if row.state in ("complete", "pruned")), default=0.0)
        if self.seconds and longest and monotonic() - started + longest > self.seconds:
            self.talk.say(f"no further trial: one takes up to {longest:,.0f} s, and {self.seconds:,.0f} s were given")
            return None
        return study.begin(self.trials)

    def run(self, study: Study, trial: Trial) -> None:
        """Train with a trial's settings, and note how it ended."""
        if (same := study.same_as(trial)) is not None:
            notes = {name: same.user_attrs[name] for name in ("by_query", "validation")}
            study.end(trial, TrialState.COMPLETE, same.values[0], note=f"as trial {same.number}", **notes)
            return
        try:
            summary = self._trained(study, trial)
        except optuna.TrialPruned:
            study.end(trial, TrialState.PRUNED)
        except _OF_SETTINGS as error:
            if not trial.values or isinstance(error, ResumeMismatch):
                raise
            study.end(trial, TrialState.FAIL, note=str(error))
        else:
            self._check_same_corpus(study, summary)
            measure = summary.validation["hybrid"]
            notes = {"by_query": list(summary.by_query), "validation": dict(summary.validation)}
            study.end(trial, TrialState.COMPLETE, measure, **notes)
        self.talk.say(_told(next(row for row in study.rows() if row.number == trial.number)))

    def _trained(self, study: Study, trial: Trial) -> TrainSummary:
        settings = changed(self.base, trial.values)
        request = replace(
            self.request.train, towers=settings.towers, config=settings.training,
            start=self.start.folder if self.start else None, restart=True, keep_work=False,
        )  # fmt: skip
        name = f"trial-{trial.number:04d}"
        pruning = _Reporting(study, trial, self.talk.tracker_of(name) if self.talk.tracker_of else None)
        trial.folder.parent.mkdir(parents=True, exist_ok=True)
        summary = train(
            self.dataset, trial.folder, request,
            tracker=pruning, reject=self.talk.reject, progress=self.talk.progress,
        )  # fmt: skip
        if not summary.validation:
            raise DataError(
                f"fewer than {FEWEST_QUERIES} judged queries are held out to measure trials on; give more queries, or "
                "a larger training.validation_share"
            )
        return summary

    def _check_same_corpus(self, study: Study, summary: TrainSummary) -> None:
        """Compare what BM25 alone makes of the validation queries, which no setting changes."""
        if (default := study.default) is None:
            return
        before, now = default.user_attrs["validation"], summary.validation
        if any(before[name] != now[name] for name in ("bm25", "queries")):
            raise ResumeMismatch(
                f"BM25 alone reaches {now['bm25']:.4f} on the validation queries, and {before['bm25']:.4f} when the "
                "sweep began: the documents changed, so its trials can't be compared; give another folder"
            )

    def checked(self, study: Study) -> tuple[str, dict[str, Comparison]]:
        """Compare the best model with that of the default settings on queries that chose nothing."""
        best, default = study.best, study.default
        if not self.check_on or best is None or default is None or best.number == default.number:
            return "", {}

        def compared(folder: Path) -> dict[str, Comparison]:
            contenders = []
            for name, trial in zip(_CHECKED, (default, best), strict=True):
                index, model = folder / name, study.model_of(trial)
                load(self.dataset, index, model=model, reject=self.talk.reject, progress=self.talk.progress)
                contenders.append(Contender(name, str(index), {}))
            seed = self.base.training.seed
            request = CompareRequest(split=self.check_on, measures=(PRIMARY,), speed=False, seed=seed)
            found = compare_systems(self.dataset, contenders, request, progress=self.talk.progress)
            return {row.name: row.comparison for row in found.rows}

        return self.check_on, study.check_once(f"{best.number} {self.check_on}", compared)


class _Reporting:
    """A tracker that reports a trial's measures to the study, which may end it, and passes everything on."""

    def __init__(self, study: Study, trial: Trial, tracker: Tracker | None) -> None:
        self._study, self._trial, self._tracker = study, trial, tracker

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record values.

        :raises TrialPruned: if the trial is not worth going on with.
        """
        if self._tracker is not None:
            self._tracker.log(step, values)
        if MEASURE in values:
            self._study.report(self._trial, step, float(values[MEASURE]))

    def close(self) -> None:
        """Close the other tracker."""
        if self._tracker is not None:
            self._tracker.close()


def _check_splits(dataset: Dataset, request: SweepRequest) -> None:
    split, splits = request.train.split, dataset.splits()
    if split == NO_SPLIT or not splits:
        raise DataError(
            f"a sweep measures trials on judged queries, and {dataset.name} is to be trained on without any"
        )
    check_judged(dataset, "a sweep")
    if request.check_on not in ("", NO_SPLIT, *splits):
        raise UsageError(f"{dataset.name} has no split {request.check_on!r}; there are {', '.join(splits)}")
    if request.check_on == split:
        raise UsageError(f"split {split!r} is trained on; check on another one, or on {NO_SPLIT}")


def _digest(dataset: Dataset, split: str) -> str:
    """Return a hash of a split's queries and judgements."""
    sha = hashlib.sha256()
    if split in dataset.splits():
        for query in dataset.queries(split):
            sha.update(f"{query.id}\0{query.text}\0".encode("utf-8", "surrogatepass"))
        for one in dataset.judgements(split):
            sha.update(f"{one.query_id}\0{one.document_id}\0{one.grade}\0".encode("utf-8", "surrogatepass"))
    return sha.hexdigest()


def _report(out: Path, study: Study, *, seconds: float) -> SweepReport:
    rows, best, default = study.rows(), study.best, study.default
    if best is None:
        reasons = "; ".join(f"trial {row.number}: {row.state} {row.note}".rstrip() for row in rows[:3])
        raise TrainingError(f"{out}: no trial is complete yet ({reasons or 'none began'}); give more time or trials")
    assert best.values is not None
    return SweepReport(
        folder=str(out),
        model=str(out / "model"),
        measure=PRIMARY,
        queries=int(best.user_attrs["validation"]["queries"]),
        best=best.number,
        settings=best.user_attrs["settings"],
        gain=round(best.values[0] - default.values[0], 4) if default and default.values else 0.0,
        trials=rows,
        importance=study.importance(),
        running=sum(row.state == "running" for row in rows),
        seconds=seconds,
    )


def _told(row: TrialRow) -> str:
    settings = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in row.settings.items())
    figure = f" {row.measure:.4f}" if row.measure is not None else ""
    return f"trial {row.number}: {row.state}{figure} in {row.seconds:,.0f} s ({settings})" + (
        f": {row.note}" if row.state == "failed" else ""
    )
