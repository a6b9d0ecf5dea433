"""The study of a sweep: which trial is next, which is best, what is left of those whose process is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hybrid_search.errors import ResumeMismatch, StorageError, UsageError
from hybrid_search.training.recipes import RECIPES
from hybrid_search.training.sweep.optimiser import quiet
from hybrid_search.training.sweep.space import parse_space
from hybrid_search.training.sweep.study import Plan, Study, Trial

BASE = RECIPES["scratch"].settings()
TEMPERATURE = {"training.temperature": {"low": 0.01, "high": 0.5, "log": True}}


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def opened(folder: Path, given: Any = TEMPERATURE, *, labels: str = "", sampler: Any = "tpe") -> Study:
    space = parse_space(given)
    plan = Plan(settings=BASE, start="", split="train", labels=labels, space=dict(space), sampler=sampler, prunes=True)
    return Study(folder, plan, space, seed=0)


def begun(study: Study, limit: int = 100) -> Trial:
    trial = study.begin(limit)
    assert trial is not None
    trial.folder.mkdir(parents=True)
    (trial.folder / "model.json").write_text(f"model of trial {trial.number}")
    return trial


def ended(study: Study, *values: float) -> Trial:
    """End a trial with the hybrid's measures by query."""
    trial = begun(study)
    study.end(
        trial, TrialState.COMPLETE, sum(values) / len(values), by_query=values, validation={"queries": 4, "knn": 0.5}
    )
    return trial


def test_the_first_trial_has_the_defaults_and_the_best_model_is_always_there(tmp_path: Path) -> None:
    study = opened(tmp_path / "study")
    assert study.best is None
    first = ended(study, 0.5, 0.5, 0.5, 0.5)
    assert first.values == {}
    assert (tmp_path / "study" / "model" / "model.json").read_text() == "model of trial 0"
    second, third = ended(study, 0.75, 0.75, 1.0, 0.5), ended(study, 0.5, 0.5, 0.75, 0.75)
    assert study.best is not None
    assert study.best.number == second.number
    assert (tmp_path / "study" / "model" / "model.json").read_text() == "model of trial 1"
    # Of the others' models, only that of the defaults is needed again.
    assert [trial.folder.exists() for trial in (first, second, third)] == [True, True, False]
    rows = study.rows()
    assert [(row.number, row.state, row.measure) for row in rows] == [
        (0, "complete", 0.5), (1, "complete", 0.75), (2, "complete", 0.625)
    ]  # fmt: skip
    assert rows[0].settings == {"training.temperature": 0.05}


def test_a_gain_within_one_standard_error_leaves_the_defaults_in_place(tmp_path: Path) -> None:
    study = opened(tmp_path / "study")
    ended(study, 0.5, 0.5, 0.5, 0.5)
    ended(study, 0.9, 0.3, 0.5, 0.5)  # mean gain .05, standard error .126
    assert study.best is not None
    assert study.best.number == 0
    ended(study, 0.54, 0.52, 0.5, 0.5)  # mean gain .015, standard error .0096
    assert study.best.number == 2


def test_a_trial_whose_process_is_gone_is_failed_and_its_place_is_taken_again(tmp_path: Path) -> None:
    study = opened(tmp_path / "study", sampler="random")
    ended(study, 0.5, 0.5)
    lost = begun(study)
    (lost.folder / "state.safetensors").write_bytes(b"half")
    assert opened(tmp_path / "study", sampler="random").rows()[1].state == "running"  # its process is this one
    lost.lock.release()  # as the system does when a process dies
    again = opened(tmp_path / "study", sampler="random")
    assert [row.state for row in again.rows()] == ["complete", "killed"]
    assert not lost.folder.parent.exists()
    trial = begun(again)
    assert (trial.number, trial.values) == (2, lost.values)
    third = again.begin(3)  # killed ones do not count
    assert (third is not None, again.begin(3)) == (True, None)


def test_what_is_drawn_depends_on_the_seed_and_the_trials_before_alone(tmp_path: Path) -> None:
    given = {**TEMPERATURE, "training.batch_size": [16, 32, 64]}
    tried = []
    for name in ("one", "other"):
        study = opened(tmp_path / name, given)
        tried.append([ended(study, 0.1 * number, 0.5).values for number in range(9)])
        if name == "one":
            study = opened(tmp_path / name, given)
        tried[-1].append(begun(study).values)
    assert tried[0] == tried[1]
    assert len({str(values) for values in tried[0]}) == 10


def test_a_grid_ends_when_all_of_it_was_tried(tmp_path: Path) -> None:
    study = opened(tmp_path / "study", {"training.temperature": [0.05, 0.1], "training.epochs": [1, 2]}, sampler="grid")
    tried = [ended(study, 0.5).values for _ in range(5)]
    assert study.begin(100) is None
    assert sorted((one["training.temperature"], one["training.epochs"]) for one in tried[1:]) == [
        (0.05, 1), (0.05, 2), (0.1, 1), (0.1, 2)
    ]  # fmt: skip


def test_a_trial_that_falls_behind_the_median_ends_but_never_the_defaults(tmp_path: Path) -> None:
    study = opened(tmp_path / "study")
    trial = begun(study)
    for step in (0, 100):
        study.report(trial, step, 0.1)
    study.end(trial, TrialState.COMPLETE, 0.1, by_query=[0.1], validation={"queries": 1, "knn": 0.5})
    for _ in range(3):
        trial = begun(study)
        study.report(trial, 100, 0.5)
        study.end(trial, TrialState.COMPLETE, 0.5, by_query=[0.5], validation={"queries": 1, "knn": 0.5})
    trial = begun(study)
    study.report(trial, 0, 0.0)  # nothing was trained yet
    with pytest.raises(optuna.TrialPruned):
        study.report(trial, 100, 0.4)
    study.end(trial, TrialState.PRUNED)
    row = study.rows()[-1]
    assert (row.state, row.measure, row.towers) == ("pruned", None, 0.4)
    assert not trial.folder.exists()


def test_settings_that_were_tried_before_are_known(tmp_path: Path) -> None:
    study = opened(tmp_path / "study", {"training.epochs": [40]}, sampler="random")
    ended(study, 0.5)
    trial = begun(study)
    same = study.same_as(trial)
    assert same is not None
    assert same.number == 0


def test_values_that_are_no_scalars_come_back_as_they_were_given(tmp_path: Path) -> None:
    mixes = [[[0.0, {"random": 1.0}]], [[0.0, {"bm25": 0.5, "random": 0.5}]]]
    study = opened(tmp_path / "study", {"training.negatives": mixes}, sampler="grid")
    assert [ended(study, 0.5).values.get("training.negatives") in (None, *mixes) for _ in range(3)] == [True] * 3


def test_a_study_of_something_else_is_neither_joined_nor_changed(tmp_path: Path) -> None:
    study = opened(tmp_path / "study")
    ended(study, 0.5)
    with pytest.raises(ResumeMismatch, match=r"holds a sweep with other labels and space; repeat its command"):
        opened(tmp_path / "study", {"training.epochs": [1, 2]}, labels="others")
    assert len(opened(tmp_path / "study").rows()) == 1


def test_a_corrected_command_is_taken_where_nothing_was_trained(tmp_path: Path) -> None:
    study = opened(tmp_path / "study")
    study.abandon(begun(study))
    again = opened(tmp_path / "study", {"training.epochs": [1, 2]})
    assert again.rows() == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_database_that_is_none_is_told_with_its_name(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "study.db").write_bytes(b"no database at all, but for its length" * 100)
    with pytest.raises(StorageError, match=r"study.db: file is not a database"):
        opened(tmp_path)


def test_a_folder_may_be_called_anything(tmp_path: Path) -> None:
    study = opened(tmp_path / "a {study} of 100% & more?")
    ended(study, 0.5)
    assert (tmp_path / "a {study} of 100% & more?" / "study.db").is_file()


def test_what_a_setting_has_to_do_with_the_measure_is_told_from_eight_trials_on(tmp_path: Path) -> None:
    study = opened(tmp_path / "study", {**TEMPERATURE, "training.batch_size": [16, 32, 64]}, sampler="random")
    for _ in range(8):
        assert study.importance() == {}
        trial = begun(study)
        value = trial.values.get("training.temperature", 0.05)
        study.end(trial, TrialState.COMPLETE, value, by_query=[value], validation={"queries": 1, "knn": 0.5})
    shares = study.importance()
    assert list(shares) == ["training.temperature", "training.batch_size"]
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
