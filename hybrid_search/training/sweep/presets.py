"""Presets of sweeps: how many trials, how long, and what they try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.sweep.space import Range, Space

__all__ = ["PRESETS", "Preset", "PresetName"]

PresetName = Literal["quick", "basic", "extensive"]

_OF_LABELS = ("training.temperature", "training.self_supervised", "training.hard_negatives", "training.batch_size")
"""Settings that a loss without labelled queries does not have, or that a recipe for it sets by measurements."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What a sweep does unless told otherwise.

    :ivar trials: number of trials, the default settings included.
    :ivar seconds: no trial begins that would probably end later; 0 for no limit.
    :ivar held: what is tried where a model is gone on from, whose networks are held.
    :ivar new: what is tried with new towers.
    """

    trials: int
    seconds: float
    held: Space
    new: Space

    def space(self, base: TrainConfig) -> Space:
        """Return what is tried, given the settings that the trials share."""
        chosen = self.held if base.adapt_steps else self.new
        without = _OF_LABELS if base.loss == "align" else ()
        return {name: domain for name, domain in chosen.items() if name not in without}


_QUICK_HELD: Space = {
    "training.embedding_learning_rate": Range(0.003, 0.03, log=True),
    "training.learning_rate": Range(0.0005, 0.005, log=True),
    "training.temperature": Range(0.02, 0.1, log=True),
}
_BASIC_HELD: Space = {
    **_QUICK_HELD,
    "training.adapt_steps": (300, 600, 1_200),
    "training.false_negative_margin": (0.0, 0.9, 0.95, 0.99),
    "training.schedule": ("linear", "cosine", "constant"),
}
_QUICK_NEW: Space = {
    "training.embedding_learning_rate": Range(0.001, 0.02, log=True),
    "training.learning_rate": Range(0.0005, 0.01, log=True),
    "training.temperature": Range(0.02, 0.2, log=True),
    "training.self_supervised": (1.0, 2.0, 4.0, 8.0),
}
_BASIC_NEW: Space = {
    **_QUICK_NEW,
    "training.batch_size": (16, 32, 64, 128),
    "training.hard_negatives": (0, 1, 2, 4),
    "training.residual_share": (0.7, 0.9, 0.97, 1.0),
    "training.word_vectors.window": (3, 5, 8, 12),
    "towers.dropout": (0.0, 0.1, 0.2),
}

PRESETS: Mapping[PresetName, Preset] = {
    "quick": Preset(8, 720, _QUICK_HELD, _QUICK_NEW),
    "basic": Preset(30, 0, _BASIC_HELD, _BASIC_NEW),
    "extensive": Preset(
        150,
        0,
        {
            **_BASIC_HELD,
            "training.warmup_share": (0.0, 0.05, 0.1, 0.2),
            "training.clip_norm": (0.5, 1.0, 2.0),
            "towers.max_document_tokens": (128, 160, 256),
        },
        {
            **_BASIC_NEW,
            "training.false_negative_margin": (0.0, 0.9, 0.95, 0.99),
            "training.word_vectors.sample": (0.0001, 0.001),
            "towers.encoder": ("mean", "gru", "lstm", "rec", "cnn"),
            "towers.hidden": (64, 96, 128, 192),
            "towers.layers": (1, 2),
            "towers.pooling": ("mean", "max", "attention", "idf"),
            "towers.dimension": (128, 192, 256),
            "towers.head_layers": (0, 1, 2),
            "towers.towers": ("shared_embeddings", "separate"),
            "towers.max_document_tokens": (128, 160, 256),
        },
    ),
}
"""Name -> preset. Every default of a recipe lies in its ranges."""
