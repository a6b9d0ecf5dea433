"""Sweeps for real: trials are trained, a process is killed in the middle, others go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hybrid_search
from hybrid_search.errors import ConfigError, DataError, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.training.request import TrainRequest
from hybrid_search.training.sweep.run import SweepReport, SweepRequest, sweep

ROOT = Path(__file__).parents[4]
TOWERS = TowerConfig(encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
CONFIG = TrainConfig(
    batch_size=8, max_steps=24, evaluate_every=8, checkpoint_every=8, min_frequency=1, vocabulary=300,
    learning_rate=1e-6, embedding_learning_rate=1e-6, validation_share=0.3,
    word_vectors=WordVectorConfig(algorithm="random"),
)  # fmt: skip
SPACE = {"training.embedding_learning_rate": {"low": 0.01, "high": 0.3, "log": True}, "training.batch_size": [4, 8, 16]}
CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_sweep import swept
swept(Path(sys.argv[1]), Path(sys.argv[2]), check_on="test")
"""


def write(folder: Path, *, queries: int = 40) -> None:
    """Write 60 documents about six topics and questions on these, in words of their own, of the splits train and test.

    BM25 finds nothing, so the hybrid is as good as what is learnt.
    """
    (folder / "qrels").mkdir(parents=True)
    texts = [" ".join(f"topic{i % 6}word{(i + j) % 7}" for j in range(6)) + f" only{i}" for i in range(60)]
    lines = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")
    asked = [(f"q{i}", f"about{i % 6} question{i % 11}", i) for i in range(queries)]
    asked += [(f"t{i}", f"about{i % 6} asking{i}", i) for i in range(10)]
    records = [json.dumps({"id": id, "text": text}) + "\n" for id, text, _ in asked]
    (folder / "queries.jsonl").write_text("".join(records))
    for split, letter in (("train", "q"), ("test", "t")):
        judged = [f"{id}\td{(i + 6 * n) % 60}\t1\n" for id, _, i in asked if id[0] == letter for n in range(3)]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))


def swept(
    data: Path, out: Path, *, space: Any = SPACE, said: Callable[[str], None] = print, **asked: Any
) -> SweepReport:
    request = SweepRequest(
        train=TrainRequest(towers=TOWERS, config=CONFIG, start=None), space=space,
        **{"sampler": "random", "trials": 4, "seconds": -1.0, "check_on": "none", "prunes": False, **asked},
    )  # fmt: skip
    return sweep(open_dataset("jsonl", data, reject=print), out, request, say=said)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept") / "data"
    write(folder)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path) -> SweepReport:
    """A sweep that nothing disturbed."""
    return swept(data, data.parent / "whole")


def started(data: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(data), str(out), str(Path(__file__).parent)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)


def test_a_sweep_that_was_killed_is_ended_by_two_processes_as_if_nothing_had_happened(
    data: Path, whole: SweepReport, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    first = started(data, out)
    deadline = time.monotonic() + 120
    while not (out / "trials" / "0001" / "model.work" / "index").exists():  # the second trial is at its work
        assert first.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    others = [started(data, out) for _ in range(2)]
    assert [other.wait(120) for other in others] == [0, 0]
    report = swept(data, out, check_on="test")  # the same once more has nothing left to do but to tell
    assert report.checked["best"].difference > 0
    assert [row.number for row in report.trials if row.state == "killed"] == [1]
    done = [row for row in report.trials if row.state != "killed"]
    assert [row.state for row in done] == ["complete"] * 4
    told = sorted((str(row.settings), row.measure, row.note) for row in done)
    assert told == sorted((str(row.settings), row.measure, row.note) for row in whole.trials)
    assert (report.settings, report.gain, report.queries) == (whole.settings, whole.gain, whole.queries)
    models = [json.loads((place / "model" / "model.json").read_text()) for place in (out, data.parent / "whole")]
    assert models[0]["fingerprint"] == models[1]["fingerprint"]
    # Nothing is left of trials but the models of the best one and of the defaults.
    kept = {f"{number:04d}" for number in (report.best, 0)}
    assert {path.name for path in (out / "trials").iterdir() if path.is_dir()} == kept
    assert not list((out / "trials").glob("*/*.work"))


def test_the_best_model_is_compared_with_the_defaults_on_queries_that_chose_nothing(
    data: Path, whole: SweepReport
) -> None:
    report = swept(data, data.parent / "whole", check_on="test")
    assert report.trials == whole.trials
    assert report.best != 0, "of five trials on this data, one was better than the defaults"
    assert report.checked_on == "test"
    best, default = report.checked["best"], report.checked["default"]
    assert best.difference == pytest.approx(best.mean - default.mean)
    assert best.wins + best.losses + best.ties == 10
    assert not (data.parent / "whole" / "trials" / "check").exists()


def test_the_best_model_is_what_the_library_trains_with_its_settings(data: Path, whole: SweepReport) -> None:
    changes = {name.partition(".")[2]: value for name, value in whole.settings.items()}
    request = TrainRequest(towers=TOWERS, config=CONFIG.replace(**changes), start=None)
    summary = hybrid_search.train(open_dataset("jsonl", data, reject=print), data.parent / "again", request)
    assert summary.fingerprint == json.loads((Path(whole.model) / "model.json").read_text())["fingerprint"]
    best = next(row for row in whole.trials if row.number == whole.best)
    assert summary.validation["hybrid"] == best.measure
    assert sum(summary.by_query) / whole.queries == pytest.approx(best.measure, abs=1e-4)


def test_a_trial_that_cannot_be_trained_is_told_and_the_others_go_on(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    space = {"training.loss": ["infonce", "contrastive"], "training.queue": [0, 64]}  # fine one by one
    report = swept(data, tmp_path / "study", space=space, sampler="grid", trials=9, said=said.append)
    tried = {tuple(row.settings.values()): row for row in report.trials}
    assert {settings: row.state for settings, row in tried.items()} == {
        ("infonce", 0): "complete", ("infonce", 64): "complete", ("contrastive", 0): "complete",
        ("contrastive", 64): "failed",
    }  # fmt: skip
    assert "queue is 64; it must be 0 with loss 'contrastive'" in tried["contrastive", 64].note
    assert tried["infonce", 0].note == "as trial 0"  # the same settings are not trained twice
    assert len(report.trials) == 5
    assert len([text for text in said if "failed" in text]) == 1


def test_no_trial_begins_that_would_end_after_the_time_that_was_given(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = swept(data, tmp_path / "study", seconds=0.001, said=said.append)
    with_more = swept(data, tmp_path / "study", trials=2)
    assert [row.number for row in report.trials] == [0]
    assert said[-1].startswith("no further trial: one takes up to ")
    assert [row.number for row in with_more.trials] == [0, 1]


def test_what_cannot_be_swept_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    write(few, queries=12)
    for error, where, asked in (
        (ConfigError, data, {"space": {"training.lerning_rate": [0.1]}}),
        (UsageError, data, {"check_on": "dev"}),
        (UsageError, data, {"check_on": "train"}),
    ):
        with pytest.raises(error):
            swept(where, tmp_path / "study", **asked)
        assert not (tmp_path / "study").exists()
    with pytest.raises(DataError, match="fewer than 10 judged queries are held out"):
        swept(few, tmp_path / "study")


class Interrupts:
    """A tracker that is there when somebody presses Ctrl-C."""

    def log(self, step: int, values: object) -> None:
        if step:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


def test_a_sweep_that_is_interrupted_says_how_to_go_on_and_leaves_no_part_files(data: Path, tmp_path: Path) -> None:
    request = SweepRequest(train=TrainRequest(towers=TOWERS, config=CONFIG, start=None), space=SPACE, trials=1)
    dataset = open_dataset("jsonl", data, reject=print)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        sweep(dataset, tmp_path / "study", request, tracker_of=lambda name: Interrupts())
    assert interrupted.value.__notes__ == [
        f"{tmp_path / 'study'} holds the trials that are done; the same command goes on from there"
    ]
    assert list((tmp_path / "study" / "trials").iterdir()) == []
    assert [row.state for row in sweep(dataset, tmp_path / "study", request).trials] == ["killed", "complete"]
