"""What a sweep may try: read from files and plain values, checked before anything is trained, and the presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.shipped import default_model
from hybrid_search.training.recipes import RECIPES, TrainSettings
from hybrid_search.training.start import Start, why_fixed
from hybrid_search.training.sweep.presets import PRESETS
from hybrid_search.training.sweep.space import (
    Range,
    as_toml,
    changed,
    check_space,
    contains,
    grid,
    parse_space,
    read_space,
    values_of,
)

SCRATCH = RECIPES["scratch"].settings()


@pytest.mark.parametrize("name", PRESETS)
def test_the_defaults_lie_in_every_preset_and_all_that_it_tries_is_allowed(name: Any) -> None:
    model = default_model()
    assert model is not None
    start = Start.read(model)
    for base, of in ((SCRATCH, None), (start.settings(RECIPES["scratch"]), start)):
        space = PRESETS[name].space(base.training)
        check_space(space, base, why_fixed=lambda name, of=of, base=base: why_fixed(name, of, base.training))
        values = values_of(base, list(space))
        assert not [name for name in space if not contains(space[name], values[name])]


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_is_read_back_as_the_same_space(name: Any, tmp_path: Path) -> None:
    space = PRESETS[name].new
    (tmp_path / "space.toml").write_text(as_toml(space))
    found = read_space(tmp_path / "space.toml")
    assert found == dict(sorted(space.items()))


def test_a_json_file_may_have_names_with_dots_or_nested_ones(tmp_path: Path) -> None:
    text = '{"training": {"temperature": [0.05, 0.1]}, "towers.hidden": {"low": 32, "high": 128, "log": true}}'
    (tmp_path / "space.json").write_text(text)
    space = read_space(tmp_path / "space.json")
    assert space == {"towers.hidden": Range(32, 128, log=True), "training.temperature": (0.05, 0.1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.temperature = 0.1", "training.temperature is 0.1; it must be a list of values or"),
        ("training.temperature = {low = 2, high = 1}", "training.temperature is .*low must be below high"),
        ("training.temperature = {low = 0, high = 1, log = true}", "low must be above 0"),
        ("training.temperature = {low = 1, top = 2}", "missing required field `high`|unknown field `top`"),
        ("training.temperature = []", "must be a list of values"),
        ("", "nothing to try in it"),
        ("training.temperature = [", "space.toml is no TOML: "),
        ("\udcff", "space.toml is no TOML: "),
    ],
)
def test_a_file_that_is_no_space_is_refused_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        read_space(tmp_path / "space.toml")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"training.temprature": [0.1]}, "there is no setting 'training.temprature'"),
        ({"index.bm25.k1": [0.9]}, "there is no setting 'index.bm25.k1' of towers or training"),
        ({"training.word_vectors": [1]}, "there is no setting 'training.word_vectors'"),
        ({"training.temperature": [0.1, -1.0]}, "training.temperature is -1.0; it must be a number above 0"),
        ({"training.batch_size": {"low": 1, "high": 64}}, "training.batch_size is 1; it must be a whole number from 2"),
        ({"towers.encoder": ["gru", "gnu"]}, "towers.encoder is 'gnu'; it must be one of mean, rnn"),
        ({"training.loss": ["kl"]}, "a file of teacher scores"),
        ({"training.seed": [0, 1]}, "training.seed changes what trials are measured on"),
    ],
)
def test_a_setting_that_cannot_be_tried_is_refused_before_anything_is_trained(space: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space(parse_space(space), SCRATCH, why_fixed=lambda name: "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("towers.hidden", "take that from en"),
        ("training.word_vectors.window", "take that from en"),
        ("training.batch_size", "steps with the networks held do not have it; give training.adapt_steps=0"),
        ("towers.max_document_tokens", ""),
        ("training.temperature", ""),
    ],
)
def test_what_a_model_decides_cannot_be_tried_from_it(name: str, message: str) -> None:
    model = default_model()
    assert model is not None
    start = Start.read(model)
    reason = why_fixed(name, start, start.settings(RECIPES["scratch"]).training)
    assert message in reason
    assert bool(reason) == bool(message)
    assert why_fixed(name, None, SCRATCH.training) == ""


def test_a_grid_has_every_combination_once_in_an_order_of_its_seed() -> None:
    space = parse_space({"a.x": [1, 2, 3], "a.y": {"low": 0.0, "high": 1.0, "step": 0.25}})
    cells = grid(space, seed=0)
    wanted = {(x, y) for x in (1, 2, 3) for y in (0.0, 0.25, 0.5, 0.75, 1.0)}
    assert len(cells) == 15
    assert {(cell["a.x"], cell["a.y"]) for cell in cells} == wanted
    assert grid(space, seed=0) == cells != grid(space, seed=1)


def test_a_grid_cuts_a_range_without_a_step_into_four_evenly() -> None:
    assert Range(0.01, 10.0, log=True).points() == [0.01, 0.1, 1.0, 10.0]
    assert Range(16, 64).points() == [16, 32, 48, 64]
    with pytest.raises(ConfigError, match="the grid has 1,048,576 combinations"):
        grid(parse_space({f"a.x{number}": {"low": 0, "high": 3} for number in range(10)}), seed=0)


def test_settings_are_changed_by_their_names_and_checked_together() -> None:
    values = {
        "towers.encoder": "lstm",
        "training.word_vectors.window": 3,
        "training.negatives": [[0.0, {"random": 1.0}]],
    }
    settings = changed(SCRATCH, values)
    assert (settings.towers.encoder, settings.training.word_vectors.window) == ("lstm", 3)
    assert values_of(settings, list(values)) == values
    assert settings.training.epochs == SCRATCH.training.epochs
    base = TrainSettings(towers=TowerConfig(towers="tied"))
    with pytest.raises(ConfigError, match="query_hidden is 8; it must be 0 where both towers are one"):
        changed(base, {"towers.query_hidden": 8})
