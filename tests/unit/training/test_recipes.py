from pathlib import Path

import pytest

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.towers.shipped import located
from hybrid_search.training.recipes import DEFAULT, RECIPES
from hybrid_search.training.request import TrainRequest
from hybrid_search.training.start import settled


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_settings_that_exist_and_fit_together(name):
    teacher = {"teacher": "somewhere"} if name == "distil" else {}
    towers, training = RECIPES[name].joined_with({"training": teacher})
    TowerConfig.from_mapping(towers, source=name)
    TrainConfig.from_mapping(training, source=name)


def test_the_default_recipe_needs_no_teacher_and_nothing_else():
    config = RECIPES[DEFAULT].settings().training
    assert (config.teacher, config.loss) == ("", "infonce")


def test_distilling_without_a_teacher_says_what_is_missing():
    with pytest.raises(ConfigError, match="given with recipe distil"):
        TrainConfig.from_mapping(RECIPES["distil"].joined_with({})[1], source="settings")


def test_what_is_given_wins_and_the_rest_of_the_recipe_stays():
    given = {"towers": {"encoder": "mean"}, "training": {"batch_size": 7, "word_vectors": {"window": 3}}}
    towers, training = RECIPES["distil"].joined_with(given)
    assert towers["encoder"] == "mean"
    assert (training["batch_size"], training["loss"]) == (7, "align")
    assert training["word_vectors"] == {"algorithm": "teacher", "window": 3}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("other", [{"encoder": "mean"}, {"bidirectional": False}, {"towers": "tied"}])
def test_a_recipe_takes_another_kind_of_tower_without_further_settings(name: str, other: dict[str, object]) -> None:
    towers, _ = RECIPES[name].joined_with({"towers": other})
    config = TowerConfig.from_mapping(towers, source=name)
    assert config.of_queries == config


def test_other_settings_are_refused():
    with pytest.raises(ConfigError, match="no settings are called 'tower'"):
        RECIPES["scratch"].joined_with({"tower": {}})


def test_a_program_that_gives_no_settings_trains_as_the_command_line_does_by_default() -> None:
    start, towers, config = settled(TrainRequest())
    assert start is not None
    assert (start.folder, towers.encoder, config.adapt_steps > 0) == (located(Path("en")), "rec", True)
    assert settled(TrainRequest(start="en"))[0].folder == start.folder
    recipe = RECIPES[DEFAULT].settings()
    assert settled(TrainRequest(start=None)) == (None, recipe.towers, recipe.training)
    assert settled(TrainRequest(config=recipe.training)) == (None, recipe.towers, recipe.training)
    assert (recipe.towers.dimension, recipe.training.word_vectors.algorithm) == (256, "cbow")
