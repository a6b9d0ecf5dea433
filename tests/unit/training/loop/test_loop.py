import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import synthetic
import torch

from hybrid_search.errors import CollapsedTowers, ConfigError, ResumeMismatch, TrainingError
from hybrid_search.training.loop.loop import train_towers
from hybrid_search.training.loop.state import load_state
from hybrid_search.training.tracking import JsonlTracker

MEAN = synthetic.TOWERS.replace(encoder="mean")


class Silent:
    def log(self, step, values):
        pass

    def close(self):
        pass


class InterruptAt:
    """Sends this process a Ctrl-C while a step is being logged."""

    def __init__(self, step):
        self.step = step

    def log(self, step, values):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)

    def close(self):
        pass


def train(work, config=synthetic.TRAINING, towers=None, tracker=None, data=None):
    towers = towers or synthetic.towers()
    report = train_towers(towers, data or synthetic.training_data(), config, work=work, tracker=tracker or Silent())
    return towers, report


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def test_a_task_that_needs_learning_is_learnt(uninterrupted):
    _, report = uninterrupted
    assert report.untrained_measure < 0.3
    assert report.best_measure > 0.7
    assert report.stopped_because == "finished"
    assert report.steps == 66


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "triplet", "margin": 0.5},
        {"loss": "triplet", "triplet_mining": "semi_hard", "margin": 0.5},
        {"loss": "triplet", "triplet_mining": "given", "hard_negatives": 4, "triplet_distance": "l2", "margin": 0.5},
        {"loss": "contrastive", "margin": 1.0},
        {"learn_temperature": True, "hard_negatives": 0},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_loss_learns(tmp_path, changes):
    _, report = train(tmp_path, synthetic.TRAINING.replace(**changes), towers=synthetic.towers(MEAN))
    assert report.best_measure > report.untrained_measure + 0.3


@pytest.mark.parametrize(("loss", "temperature"), [("margin_mse", 0.1), ("kl", 0.1)])
def test_losses_that_distil_learn_from_a_teachers_scores(tmp_path, loss, temperature):
    config = synthetic.TRAINING.replace(
        loss=loss, temperature=temperature, teacher_scores="scores.jsonl", hard_negatives=8, epochs=8
    )
    data = synthetic.training_data(with_teacher=True)
    _, report = train(tmp_path, config, towers=synthetic.towers(MEAN), data=data)
    assert report.best_measure > report.untrained_measure + 0.3


def test_a_gru_without_residual_path_starts_narrow_and_is_not_taken_for_collapsed(tmp_path):
    narrow = synthetic.TOWERS.replace(residual=False, pooling="last")
    _, report = train(
        tmp_path, synthetic.TRAINING.replace(epochs=11, self_supervised=0), towers=synthetic.towers(narrow)
    )
    assert report.steps > 100


def test_the_same_seed_gives_the_same_weights(tmp_path, uninterrupted):
    again, _ = train(tmp_path)
    assert same_weights(uninterrupted[0], again)


def test_another_seed_gives_other_weights(tmp_path, uninterrupted):
    other, _ = train(tmp_path, synthetic.TRAINING.replace(seed=1))
    assert not same_weights(uninterrupted[0], other)


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    config = synthetic.TRAINING.replace(epochs=30, patience=2, schedule="constant", embedding_learning_rate=0.1)
    towers, report = train(tmp_path, config)
    data = synthetic.training_data()
    from hybrid_search.training.loop.validation import validate

    assert report.stopped_because == "early stopping"
    assert report.best_step < report.steps
    assert validate(towers, data.validation) == report.best_measure == max(measure for _, measure in report.curve)


def test_a_run_resumed_after_ctrl_c_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tracker=InterruptAt(30))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, report = train(tmp_path)
    assert same_weights(uninterrupted[0], resumed)
    assert report.curve == uninterrupted[1].curve


def test_so_does_one_with_a_queue(tmp_path, uninterrupted):
    config = synthetic.TRAINING.replace(queue=50)
    whole, _ = train(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", config, tracker=InterruptAt(30))
    resumed, _ = train(tmp_path / "resumed", config)
    assert same_weights(whole, resumed)
    assert not same_weights(whole, uninterrupted[0])


def test_a_run_resumed_after_a_kill_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, uninterrupted):
    code = (
        "import os, signal, sys; sys.path[:0] = sys.argv[1].split(os.pathsep)\n"
        "from pathlib import Path; import test_loop\n"
        "class Kill(test_loop.Silent):\n"
        "    def log(self, step, values):\n"
        "        if step == 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_loop.train(Path(sys.argv[2]), tracker=Kill())\n"
    )
    here = os.pathsep.join(map(str, (Path(__file__).parent, Path(synthetic.__file__).parent)))
    done = subprocess.run([sys.executable, "-c", code, here, str(tmp_path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    resumed, _ = train(tmp_path)
    assert same_weights(uninterrupted[0], resumed)


def test_a_resumed_run_starts_its_progress_where_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tracker=InterruptAt(30))
    advanced = []

    class Task:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, amount=1):
            advanced.append(amount)

    data = synthetic.training_data()
    train_towers(
        synthetic.towers(),
        data,
        synthetic.TRAINING,
        work=tmp_path,
        tracker=Silent(),
        progress=lambda label, total: Task(),
    )
    assert advanced[0] == 30
    assert sum(advanced) == 66


def test_a_state_of_other_settings_is_refused_and_says_how_to_start_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tracker=InterruptAt(10))
    with pytest.raises(ResumeMismatch, match=r"step 10.*other settings.*delete .*state\.safetensors"):
        train(tmp_path, synthetic.TRAINING.replace(learning_rate=0.5))
    (tmp_path / "state.safetensors").unlink()
    assert load_state(tmp_path, "any") is None


def test_a_finished_run_is_not_trained_again(tmp_path, uninterrupted):
    train(tmp_path)
    started = time.monotonic()
    towers, report = train(tmp_path)
    assert same_weights(uninterrupted[0], towers)
    assert report.best_measure == uninterrupted[1].best_measure
    assert time.monotonic() - started < 1


def without_validation():
    return dataclasses.replace(synthetic.training_data(), validation=None)


def test_frozen_word_vectors_do_not_move_and_thaw_on_time(tmp_path):
    before = synthetic.towers().embedding_parameters()[0].detach().clone()
    config = synthetic.TRAINING.replace(max_steps=20, schedule="constant")
    frozen, _ = train(tmp_path / "frozen", config.replace(frozen_steps=-1), data=without_validation())
    late, _ = train(tmp_path / "late", config.replace(frozen_steps=19), data=without_validation())
    assert torch.equal(frozen.embedding_parameters()[0], before)
    assert not torch.equal(late.embedding_parameters()[0], before)
    assert frozen.embedding_parameters()[0].requires_grad


def test_the_encoder_joins_after_the_residual_paths_share_of_the_run(tmp_path):
    untrained = synthetic.towers().document_tower.encoder.state_dict()
    config = synthetic.TRAINING.replace(max_steps=20, residual_share=1.0)
    alone, _ = train(tmp_path / "alone", config, data=without_validation())
    joined, _ = train(tmp_path / "joined", config.replace(residual_share=0.5), data=without_validation())
    assert all(torch.equal(t, untrained[name]) for name, t in alone.document_tower.encoder.state_dict().items())
    assert not all(torch.equal(t, untrained[name]) for name, t in joined.document_tower.encoder.state_dict().items())
    assert not alone.document_tower.skips_encoder


def test_without_validation_the_last_weights_are_kept(tmp_path):
    _, report = train(tmp_path, synthetic.TRAINING.replace(max_steps=5), data=without_validation())
    assert (report.best_step, report.curve) == (5, ())
    assert math.isnan(report.best_measure)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path):
    towers = synthetic.towers()
    with torch.no_grad():
        towers.query_tower.projection.weight.fill_(math.inf)
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan.*training.learning_rate"):
        train(tmp_path, towers=towers)


def test_collapsed_towers_stop_the_run_with_figures_and_advice(tmp_path):
    towers = synthetic.towers()
    with torch.no_grad():
        for tower in (towers.query_tower, towers.document_tower):
            tower.projection.weight.zero_()
            tower.head[-1].bias.fill_(1.0)
    config = synthetic.TRAINING.replace(epochs=20, learning_rate=1e-9, embedding_learning_rate=1e-9)
    with pytest.raises(CollapsedTowers, match=r"step 99: .*mean cosine of 1\.0000.*training\.loss=infonce"):
        train(tmp_path, config, towers=towers)


def test_the_log_holds_every_setting_and_the_curve(tmp_path):
    tracker = JsonlTracker(tmp_path / "log.jsonl")
    _, report = train(tmp_path, synthetic.TRAINING.replace(max_steps=12), tracker=tracker)
    tracker.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["train"]["learning_rate"] == 0.01
    assert lines[0]["towers"]["dimension"] == 16
    assert [(line["step"], line["nDCG@10"]) for line in lines if "nDCG@10" in line] == list(map(tuple, report.curve))
    assert {"loss", "gradient_norm", "learning_rate", "spread"} <= set(lines[2])


def test_the_callers_threads_and_random_state_are_left_alone(tmp_path):
    torch.manual_seed(3)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(tmp_path, synthetic.TRAINING.replace(max_steps=2), towers=synthetic.towers())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_said_before_training(tmp_path):
    with pytest.raises(ConfigError, match="device is 'cuda', and torch finds no GPU"):
        train(tmp_path, synthetic.TRAINING.replace(device="cuda"))
