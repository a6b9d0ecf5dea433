import click
import pytest
from click.testing import CliRunner

from hybrid_search.cli import cli
from hybrid_search.cli.settings import changed, parse_mix, settings_options
from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.recipes import DEFAULT, RECIPES


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("bm25", [[0.0, {"bm25": 1.0}]]),
        ("bm25:0.7,in_row:0.3", [[0.0, {"bm25": 0.7, "in_row": 0.3}]]),
        ("random; 0.3@bm25:0.8, random:0.2", [[0.0, {"random": 1.0}], [0.3, {"bm25": 0.8, "random": 0.2}]]),
    ],
)
def test_a_schedule_of_negatives_is_read(text: str, stages: list[list[object]]) -> None:
    assert parse_mix(text) == stages
    assert TrainConfig().replace(negatives=stages).negatives[0][0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("bm52", "no source 'bm52'"), ("bm25:much", "'much'"), ("x@bm25", "'x'"), ("bm25,", "no source ''")],
)
def test_a_schedule_that_can_not_be_read_names_the_part(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mix(text)


def _command_with(seen: dict[str, object]) -> click.Command:
    @click.command()
    @settings_options(TrainConfig(), only=("seed", "rank_window", "learn_temperature"))
    def command(**given: object) -> None:
        seen.update(changed(TrainConfig, given))

    return command


def test_only_the_options_that_were_given_change_a_setting() -> None:
    seen: dict[str, object] = {}
    result = CliRunner().invoke(_command_with(seen), ["--rank-window", "3-40", "--learn-temperature"])
    assert result.exit_code == 0
    assert seen == {"rank_window": (3, 40), "learn_temperature": True}


def test_a_rank_window_that_is_no_window_says_how_to_write_one() -> None:
    result = CliRunner().invoke(_command_with({}), ["--rank-window", "40"])
    assert result.exit_code == 2
    assert "FIRST-LAST" in result.output


def test_the_default_stands_in_the_help() -> None:
    result = CliRunner().invoke(_command_with({}), ["--help"])
    assert "5-100" in result.output


def test_train_shows_the_defaults_of_the_recipe_that_is_the_default() -> None:
    text = " ".join(CliRunner().invoke(cli, ["train", "--help"]).output.split())
    settings = RECIPES[DEFAULT].settings()
    for option, value in (
        ("hidden", settings.towers.hidden),
        ("dimension", settings.towers.dimension),
        ("bidirectional-queries / --no-bidirectional-queries", "no"),
        ("max-steps", settings.training.max_steps),
        ("word2vec-algorithm", settings.training.word_vectors.algorithm),
    ):
        shown = text.split(f"--{option} ")[1].split("[default: ")[1].split("]")[0]
        assert shown == str(value), option
