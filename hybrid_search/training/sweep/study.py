"""The study of a sweep in its folder: which trials there were, which is next, and the best model so far.

::

    study.json          what all processes that join must have been asked for
    study.db            optuna's study, in SQLite
    study.lock          held while a trial begins or ends
    trials/0003.lock    held by the process that trains it; the system lets go of it when that process dies
    trials/0003/        its part files, then its model, which stays only if it is the best or that of the defaults
    model/              a copy of the best model so far

A trial has a *place* in the sweep: place 0 has the default settings, and what is tried at another follows from the
seed, the place and the trials before. A trial that was killed frees its place, so that a sweep that was killed tries
what it would have tried.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from hybrid_search.errors import ResumeMismatch, UsageError
from hybrid_search.evaluation.significance import Comparison
from hybrid_search.storage import atomic_write_bytes, disk_errors, make_folder, replace_folder
from hybrid_search.training.fit.weights import standard_errors
from hybrid_search.training.recipes import TrainSettings
from hybrid_search.training.sweep.optimiser import (
    TrialRow,
    created,
    distribution,
    importance,
    row_of,
    sampler,
    storage_in,
    stored,
    stored_values,
    value_of,
)
from hybrid_search.training.sweep.space import Sampler, Space, contains, grid, values_of

__all__ = ["Plan", "Study", "Trial"]

_KILLED = "killed"
_CHECKED = "checked"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What processes that join a study must agree on.

    :ivar start: fingerprint of the model that trials go on from; empty for none.
    :ivar labels: hash of the queries and judgements.
    """

    version: int = 1
    settings: TrainSettings
    start: str
    split: str
    labels: str
    space: dict[str, Any]
    sampler: Sampler
    prunes: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has begun here.

    :ivar values: settings to try, by name; empty for the defaults.
    :ivar folder: for its model.
    """

    number: int
    values: Mapping[str, Any]
    folder: Path
    handle: optuna.Trial
    lock: FileLock


class Study:
    """A study; several processes may have it open."""

    def __init__(self, folder: Path, plan: Plan, space: Space, *, seed: int) -> None:
        self.folder, self._plan, self._space, self._seed = folder, plan, space, seed
        self._distributions = {name: distribution(domain) for name, domain in space.items()}
        self._defaults = {
            name: value for name, value in values_of(plan.settings, list(space)).items() if contains(space[name], value)
        }
        self._cells = grid(space, seed) if plan.sampler == "grid" else []
        self._open()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study's lock, and convert errors of its database."""
        with disk_errors(f"locking {self.folder}"), FileLock(self.folder / "study.lock"), stored(self.folder):
            yield

    def _open(self) -> None:
        self._check_ours()
        with disk_errors(f"writing {self.folder}"):
            make_folder(self.folder / "trials")
        file, wanted = self.folder / "study.json", msgspec.json.encode(self._plan, order="sorted")
        with self._alone():
            storage = storage_in(self.folder)
            self._study = created(storage, prunes=self._plan.prunes)
            self._reap()
            others = _differences(file, wanted)
            if others and self._counted():
                raise ResumeMismatch(
                    f"{self.folder} holds a sweep with other {' and '.join(others)}; repeat its command to go on with "
                    "it, or give another folder"
                )
            if others:
                self._study = created(storage, prunes=self._plan.prunes, anew=True)
            if others or not file.exists():
                atomic_write_bytes(file, msgspec.json.format(wanted))

    def _check_ours(self) -> None:
        if (self.folder / "study.json").exists() or not self.folder.exists():
            return
        with disk_errors(f"reading {self.folder}"):
            names = {path.name for path in self.folder.iterdir() if not path.name.startswith(".study.json")}
        if names - {"study.lock", "study.db", "study.db-journal", "trials"}:  # all that a process killed here leaves
            raise UsageError(f"{self.folder} holds other files; give an empty or a new folder for the study")

    def begin(self, limit: int) -> Trial | None:
        """Begin the next trial; None if there were ``limit`` of them, or nothing is left to try."""
        with self._alone():
            self._reap()
            place = self._next_place()
            if len(self._counted()) >= limit or (self._cells and place > len(self._cells)):
                return None
            names = list(self._space if place else self._defaults)
            self._study.sampler = sampler(self._plan.sampler, self._seed, place, together=self._has_defaults)
            handle = self._study.ask({name: self._distributions[name] for name in names})
            lock = FileLock(self._lock_of(handle.number))
            lock.acquire(timeout=0)
            values = {name: value_of(self._space[name], handle.params[name]) for name in names}
            handle.set_user_attr("place", place)
            handle.set_user_attr("settings", values)
        folder = self._folder_of(handle.number) / "model"
        return Trial(handle.number, values if place else {}, folder, handle, lock)

    def _next_place(self) -> int:
        """Return the first free place, with its settings queued where they are not drawn."""
        if waiting := self._study.get_trials(states=(TrialState.WAITING,)):  # of a process killed before it asked
            return int(waiting[0].user_attrs["place"])
        taken = {trial.user_attrs.get("place") for trial in self._counted()}
        place = next(number for number in count() if number not in taken)
        if place == 0:
            self._study.enqueue_trial(stored_values(self._defaults), user_attrs={"place": 0})
        elif 0 < place <= len(self._cells):
            self._study.enqueue_trial(stored_values(self._cells[place - 1]), user_attrs={"place": place})
        return place

    @property
    def _has_defaults(self) -> bool:
        return len(self._defaults) == len(self._space)

    def same_as(self, trial: Trial) -> FrozenTrial | None:
        """Return a complete trial that had the same settings."""
        done = self._complete() if trial.values else []
        return next((one for one in done if one.user_attrs["settings"] == trial.values), None)

    def report(self, trial: Trial, step: int, measure: float) -> None:
        """Note a measure of a trial's towers on the validation corpus.

        :raises TrialPruned: if it falls short of the median of others at that step.
        """
        with stored(self.folder):
            if step in self._study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                return
            trial.handle.report(measure, step)
            if trial.values and trial.handle.should_prune():  # the defaults, which all are compared with, end
                raise optuna.TrialPruned

    def end(self, trial: Trial, state: TrialState, measure: float | None = None, **notes: Any) -> None:
        """End a trial that was begun here, and make the best model the study's."""
        with self._alone():
            for name, value in notes.items():
                trial.handle.set_user_attr(name, value)
            self._study.tell(trial.handle, measure, state)
            trial.lock.release()
            self._settle()

    def abandon(self, trial: Trial) -> None:
        """Free the place of a trial that was interrupted here."""
        trial.lock.release()
        with self._alone():
            self._reap()

    def settle(self) -> None:
        """Free what killed processes left, and make the best model the study's."""
        with self._alone():
            self._reap()
            self._settle()

    def check_once(self, key: str, compared: Callable[[Path], dict[str, Comparison]]) -> dict[str, Comparison]:
        """Return a comparison of models, which is made once, whichever process gets there first.

        :param key: what is compared.
        :param compared: makes it, in an empty folder of its own, which is removed afterwards.
        """
        folder = self.folder / "trials" / "check"
        with disk_errors(f"locking {folder}.lock"), FileLock(f"{folder}.lock"):
            known = self._study.user_attrs.get(_CHECKED, {})
            if key not in known:
                shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
                made = compared(folder)
                shutil.rmtree(folder, ignore_errors=True)
                known = {key: msgspec.to_builtins(made)}
                with self._alone():
                    self._study.set_user_attr(_CHECKED, known)
        return msgspec.convert(known[key], dict[str, Comparison])

    @property
    def killed(self) -> Sequence[int]:
        """Numbers of the trials whose process was killed."""
        numbers: Sequence[int] = self._study.user_attrs.get(_KILLED, ())
        return numbers

    @property
    def default(self) -> FrozenTrial | None:
        """The trial of the default settings; None until it is complete."""
        return next((one for one in self._complete() if one.user_attrs["place"] == 0), None)

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial; another than the defaults' only if it gains more than one standard error over them.

        The standard error is that of the paired differences, query by query.
        """
        default, complete = self.default, self._complete()
        if default is not None:
            usual = np.array(default.user_attrs["by_query"])
            complete = [
                one
                for one in complete
                if one.number == default.number or standard_errors(np.array(one.user_attrs["by_query"]) - usual) > 1
            ]
        return max(complete, key=_goodness, default=None)

    def model_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of a trial's model; only those of the best trial and of the defaults are kept."""
        return self._folder_of(trial.number) / "model"

    def rows(self) -> list[TrialRow]:
        """Return all trials, in the order in which they began."""
        return [row_of(trial, killed=trial.number in self.killed) for trial in self._study.get_trials()
                if trial.state != TrialState.WAITING]  # fmt: skip

    def importance(self) -> dict[str, float]:
        """Return what each setting has to do with the measure; see :func:`.optimiser.importance`."""
        return importance([one for one in self._complete() if len(one.params) == len(self._space)])

    def _complete(self) -> list[FrozenTrial]:
        return self._study.get_trials(states=(TrialState.COMPLETE,))

    def _counted(self) -> list[FrozenTrial]:
        killed = set(self.killed)
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)
        return [one for one in self._study.get_trials(states=states) if one.number not in killed]

    def _reap(self) -> None:
        """Mark trials as failed whose process is no more, and remove their part files."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            lock = FileLock(self._lock_of(trial.number))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            self._study.set_user_attr(_KILLED, sorted({*self.killed, trial.number}))
            self._study.tell(trial.number, state=TrialState.FAIL)
            lock.release()
            self._remove(trial.number)

    def _settle(self) -> None:
        best, default = self.best, self.default
        kept = {one.number for one in (best, default) if one is not None}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in kept:
                self._remove(trial.number)
        if best is None:
            return
        card, source = self.folder / "model" / "model.json", self.model_of(best)
        if not card.exists() or card.read_bytes() != (source / "model.json").read_bytes():
            part = self.folder / "trials" / "best.part"
            with disk_errors(f"writing {part}"):
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(source, part)
            replace_folder(part, self.folder / "model")

    def _remove(self, number: int) -> None:
        with disk_errors(f"removing the files of trial {number}"):
            if (folder := self._folder_of(number)).exists():
                shutil.rmtree(folder)
            self._lock_of(number).unlink(missing_ok=True)

    def _folder_of(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    def _lock_of(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}.lock"


def _goodness(trial: FrozenTrial) -> tuple[float, float, int]:
    """Return by what trials are ranked: the hybrid, of equal ones the towers, then the earlier one."""
    return trial.values[0], trial.user_attrs["validation"]["knn"], -trial.number


def _differences(file: Path, wanted: bytes) -> list[str]:
    """Return the names of what a study was asked for otherwise; empty if it is new."""
    if not file.exists():
        return []
    with disk_errors(f"reading {file}"):
        data = file.read_bytes()
    try:
        found = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ResumeMismatch(f"{file} is not readable: {error}; give another folder") from error
    return [name for name, value in msgspec.json.decode(wanted).items() if found.get(name) != value]
