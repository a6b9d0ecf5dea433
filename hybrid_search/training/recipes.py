"""Recipes: named combinations of settings. Explicitly given settings override them.

The effect of each value is measured in ``docs/studies``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybrid_search.errors import ConfigError, shown
from hybrid_search.settings.base import Setting
from hybrid_search.settings.training import TowerConfig, TrainConfig

__all__ = ["DEFAULT", "RECIPES", "Recipe", "TrainSettings"]

DEFAULT = "scratch"
"""The recipe that is used if none is named."""


class TrainSettings(Setting, frozen=True):
    """All settings of a training; the content of a ``--settings`` file."""

    towers: TowerConfig = TowerConfig()
    training: TrainConfig = TrainConfig()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named combination of settings.

    :ivar about: a line for ``train --help``.
    :ivar towers: values of :class:`~hybrid_search.settings.training.TowerConfig` that differ from its defaults.
    :ivar training: values of :class:`~hybrid_search.settings.training.TrainConfig` that differ from its defaults.
    """

    about: str
    towers: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> TrainSettings:
        """Return the recipe's settings, with defaults for the others."""
        towers, training = self.joined_with({})
        return TrainSettings.from_mapping({"towers": towers, "training": training}, source="recipe")

    def joined_with(self, *given: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Combine the recipe with settings in a file's form (``towers``, ``training``); later ones take precedence.

        :return: plain values, not checked yet, of a ``TowerConfig`` and a ``TrainConfig``; the latter with
            ``word_vectors`` as a dict.
        :raises ConfigError: if there are other names than these two.
        """
        towers, training = dict(self.towers), dict(self.training)
        words = dict(training.pop("word_vectors", {}))
        for one in given:
            if unknown := sorted(one.keys() - {"towers", "training"}):
                raise ConfigError(f"no settings are called {unknown[0]!r}; there are towers and training")
            towers |= one.get("towers", {})
            changes = dict(one.get("training", {}))
            of_words = changes.pop("word_vectors", {})
            if not isinstance(of_words, Mapping):
                raise ConfigError(f"training.word_vectors is {shown(of_words)}; it must be an object")
            words |= of_words
            training |= changes
        return towers, {**training, "word_vectors": words}


RECIPES: Mapping[str, Recipe] = {
    "scratch": Recipe(
        "no teacher: word2vec, then InfoNCE on labelled examples and on ones made out of the documents",
        # The gain of a GRU is within chance (docs/studies), and one of width 128 takes a third longer for a query.
        towers={"dimension": 256, "embedding_dimension": 256, "hidden": 96, "bidirectional_queries": False},
        training={
            "epochs": 40,
            "max_steps": 5_000,
            "vocabulary": 40_000,
            "residual_share": 0.97,
            "evaluate_every": 200,
            "patience": 0,
            "word_vectors": {"algorithm": "cbow", "window": 8, "sample": 1e-4},
        },
    ),
    "distil": Recipe(
        "needs a teacher: start from its vectors of the words, then learn its vectors of the texts",
        towers={"dimension": 256, "embedding_dimension": 256, "max_document_tokens": 256},
        training={
            "loss": "align",
            "batch_size": 128,
            "epochs": 6,
            "max_steps": 3_000,
            "vocabulary": 40_000,
            "learning_rate": 8e-3,
            "embedding_learning_rate": 3e-3,
            "warmup_share": 0.02,
            "evaluate_every": 500,
            "checkpoint_every": 500,
            "patience": 0,
            "word_vectors": {"algorithm": "teacher"},
        },
    ),
}
"""Name -> recipe."""
