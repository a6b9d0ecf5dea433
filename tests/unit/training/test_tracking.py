import importlib.util
import json

import numpy as np
import pytest

from hybrid_search.errors import MissingExtra
from hybrid_search.training.tracking import Histogram, JsonlTracker, WandbTracker


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_call_is_a_line_with_step_time_and_values(tmp_path):
    path = tmp_path / "logs" / "log.jsonl"
    tracker = JsonlTracker(path)
    tracker.log(3, {"loss": 0.5, "train": {"seed": 1}})
    [line] = lines(path)  # readable before it is closed
    tracker.close()
    assert line.pop("time").endswith("+00:00")
    assert line == {"step": 3, "loss": 0.5, "train": {"seed": 1}}


def test_numbers_without_a_json_form_become_text(tmp_path):
    tracker = JsonlTracker(tmp_path / "log.jsonl")
    tracker.log(1, {"loss": float("nan"), "norm": float("inf")})
    tracker.close()
    assert lines(tmp_path / "log.jsonl")[0]["loss"] == "nan"
    assert lines(tmp_path / "log.jsonl")[0]["norm"] == "inf"


def test_a_resumed_log_goes_on_after_its_last_whole_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    tracker = JsonlTracker(path)
    tracker.log(2, {})
    tracker.close()
    assert [line["step"] for line in lines(path)] == [1, 2]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_missing_wandb_says_what_to_install(tmp_path):
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-towers\[tracking\]'"):
        WandbTracker(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_logs_offline_to_the_project_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "knives")
    tracker = WandbTracker(tmp_path, group="study", name="trial-0001")
    tracker.log(0, {"train": {"seed": 1}})
    tracker.log(1, {"loss": 0.5, "weights/head": Histogram(np.array([1.0, 2.0]))})
    run = tracker._run
    assert (run.project, run.group, run.name) == ("knives", "study", "trial-0001")
    assert run.config["train"] == {"seed": 1}
    tracker.log(2, {"loss": 0.25})  # which ends the step before
    assert run.summary["loss"] == 0.5
    assert run.summary["weights/head"]["_type"] == "histogram"
    tracker.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))
