"""What optuna is told, and what it answers: distributions, samplers, pruners, trials as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from hybrid_search.errors import StorageError
from hybrid_search.training.sweep.space import Domain, Range, Sampler, rounded

__all__ = [
    "TrialRow", "created", "distribution", "importance", "quiet", "row_of", "sampler", "storage_in", "stored",
    "stored_values", "value_of",
]  # fmt: skip

_NAME = "sweep"
_TELLING = 8

_STARTUP = 5
"""Trials that are drawn before TPE has something to go by."""

_PRUNER = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
"""Prunes from the third complete trial on, and never before the first step."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial.

    :ivar state: ``complete``, ``pruned``, ``failed``, ``killed`` or ``running``.
    :ivar settings: those tried, by name.
    :ivar measure: nDCG@10 of the hybrid on the validation queries, 0..1; None unless it is complete.
    :ivar towers: nDCG@10 of the towers alone, as last measured; None if it never was.
    :ivar note: why it failed, or which trial had the same settings.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    measure: float | None
    towers: float | None
    seconds: float
    note: str = ""


def storage_in(folder: Path) -> optuna.storages.BaseStorage:
    """Open the database of a study, ``study.db``, or create it."""
    address = URL.create("sqlite", database=str((folder / "study.db").resolve())).render_as_string()
    url = address.replace("{", "{{").replace("}", "}}")  # optuna formats it
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


def created(storage: optuna.storages.BaseStorage, *, prunes: bool, anew: bool = False) -> optuna.Study:
    """Open the study of a database, or create it; ``anew`` throws away the one that is there."""
    if anew:
        optuna.delete_study(study_name=_NAME, storage=storage)
    pruner = _PRUNER if prunes else optuna.pruners.NopPruner()
    return optuna.create_study(
        storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True, pruner=pruner
    )


def sampler(kind: Sampler, seed: int, place: int, *, together: bool) -> optuna.samplers.BaseSampler:
    """Return what draws the settings of the trial at a place; drawing at the same place again gives the same.

    :param together: whether every trial has a value of each setting, so that they can be weighed together.
    """
    drawn = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=drawn)
    return optuna.samplers.TPESampler(seed=drawn, n_startup_trials=_STARTUP, multivariate=together)


def importance(trials: list[FrozenTrial]) -> dict[str, float]:
    """Return how much each setting has to do with being in the better half of complete trials, as shares (PED-ANOVA).

    Empty with fewer than eight, which tell nothing.
    """
    if len(trials) < _TELLING:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5, region_quantile=1.0)
    )
    return {name: round(share, 3) for name, share in found.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna from telling of every trial, as it does unasked."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def row_of(trial: FrozenTrial, *, killed: bool) -> TrialRow:
    """Return what to tell of a trial."""
    state = "killed" if killed else "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    last = max(trial.intermediate_values, default=None)
    return TrialRow(
        number=trial.number,
        state=state,
        settings=trial.user_attrs.get("settings", {}),
        measure=trial.values[0] if trial.state == TrialState.COMPLETE else None,  # optuna has one of a pruned trial
        towers=None if last is None else trial.intermediate_values[last],
        seconds=round(trial.duration.total_seconds(), 1) if trial.duration else 0.0,
        note=trial.user_attrs.get("note", "default settings" if trial.user_attrs.get("place") == 0 else ""),
    )


@contextmanager
def stored(folder: Path) -> Iterator[None]:
    """Convert errors of a study's database.

    :raises StorageError: instead.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StorageError(f"{folder / 'study.db'}: {reason}; check the disk, or give another folder") from error


def distribution(domain: Domain) -> BaseDistribution:
    """Return what may be tried, as optuna has it."""
    if not isinstance(domain, Range):
        return CategoricalDistribution(list(map(_stored_value, domain)))
    kind = IntDistribution if domain.is_whole else FloatDistribution
    step = {} if domain.step is None else {"step": domain.step}
    return kind(domain.low, domain.high, log=domain.log, **step)  # type: ignore[arg-type]


def _stored_value(value: Any) -> Any:
    """Return a value as optuna can store it: others than scalars as JSON."""
    return value if isinstance(value, (str, int, float, bool)) else msgspec.json.encode(value).decode()


def stored_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as optuna can store them."""
    return {name: _stored_value(value) for name, value in values.items()}


def value_of(domain: Domain, drawn: Any) -> Any:
    """Return the value of a setting that optuna drew."""
    if isinstance(domain, Range):
        return rounded(drawn, domain)
    return next(value for value in domain if _stored_value(value) == drawn)
