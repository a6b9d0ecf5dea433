"""The benchmarks are run by hand; that they still start is held here."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module

import pytest

import benchmarks
from benchmarks.quality.__main__ import settings_of
from hybrid_search.training.recipes import RECIPES

MODULES = sorted(module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."))


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports_what_is_there(name: str) -> None:
    assert import_module(name).__doc__


@pytest.mark.parametrize("recipe", RECIPES)
def test_figures_are_kept_with_all_settings_of_their_recipe(recipe: str) -> None:
    settings = settings_of(argparse.Namespace(recipe=recipe, teacher="some-teacher"))
    towers, training = settings["towers"], settings["training"]
    assert towers["dimension"] == 256
    assert training["teacher"] == ("some-teacher" if recipe == "distil" else "")
