"""The benchmarks are run by hand; that they still start is held here."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module

import pytest

import benchmarks
from benchmarks.quality.__main__ import settings_of
from benchmarks.quality.tables import row
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


def test_a_row_has_each_figure_s_mean_and_its_ends_over_the_seeds() -> None:
    def run(knn: float, hybrid: float, recall: float, seconds: int) -> dict[str, object]:
        test = {"knn": {"nDCG@10": knn, "R@100": 0.0}, "hybrid": {"nDCG@10": hybrid, "R@100": recall}}
        sets = {name: {"test": test} for name in ("dl19", "nfcorpus", "squad")}
        return {"seconds": {"whole": seconds, "training": 1}, "megabytes": 35.4, "sets": sets}

    runs = {"0": run(0.4, 0.5, 0.9, 600), "1": run(0.44, 0.5, 1.0, 660)}
    figures = ".420 (.400 to .440) / .500 (.500 to .500)"
    assert row("x", runs) == f"| `x` | 2 | {figures} | {figures} | {figures} | .950, .950, .950 | 10.0 to 11.0, 35 |"
    alone = row("x", {"0": runs["0"]})
    assert alone == "| `x` | 1 | .400 / .500 | .400 / .500 | .400 / .500 | .900, .900, .900 | 10.0, 35 |"
