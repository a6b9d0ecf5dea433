"""The arms of the study ``architecture``: what the towers are made of, and what else they can be told to learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.arms import BASE, BASE_ARM, Arm, Study

__all__ = ["ARCHITECTURE"]

# Half of the learning rate is left when the net joins; later it would hardly move in so few steps.
_NET = {"max_steps": 250, "residual_share": 0.6}
_LONG = {"max_steps": 1_200, "epochs": 40}


def _beside(question: str, about: str, **towers: Any) -> Arm:
    """Put a GRU beside the weighted mean, after 150 steps without it."""
    return Arm(question, about, towers={"encoder": "gru", **towers}, training=_NET)


def _words(about: str, vocabulary: int) -> Arm:
    return Arm("vocabulary", about, training={"vocabulary": vocabulary})


def _numbers(question: str, about: str, dimension: int, words: int, *, cut: int = 0, is_long: bool = False) -> Arm:
    towers = {"dimension": dimension, "embedding_dimension": words}
    return Arm(question, about, towers=towers, training=_LONG if is_long else {}, cut=cut)


ARMS: Mapping[str, Arm] = {
    BASE: BASE_ARM,
    "queue_1024": Arm("queue", "1,024 documents of earlier batches", training={"queue": 1_024}),
    "queue_4096": Arm("queue", "4,096 documents of earlier batches", training={"queue": 4_096}),
    "pool_mean": _beside("pooling", "mean"),
    "pool_attention": _beside("pooling", "attention", pooling="attention"),
    "pool_max": _beside("pooling", "max", pooling="max"),
    "pool_idf": _beside("pooling", "idf", pooling="idf"),
    "pool_last": _beside("pooling", "last", pooling="last"),
    "one_way_queries": _beside(
        "directions", "documents in both directions, queries forwards alone", bidirectional_queries=False
    ),
    "one_way": _beside("directions", "both forwards alone", bidirectional=False),
    "words_5000": _words("5,000", 5_000),
    "words_10000": _words("10,000", 10_000),
    "words_20000": _words("20,000", 20_000),
    "words_40000": _words("40,000", 40_000),
    "numbers_64": _numbers("dimension", "64", 64, 64),
    # One training for the next three; see Trainer.
    "numbers_256": _numbers("dimension", "256", 256, 256),
    "cut_64": _numbers("first 64", "trained at 256, cut", 256, 256, cut=64),
    "cut_128": _numbers("first 128", "trained at 256, cut", 256, 256, cut=128),
    "numbers_64_of_256": _numbers("first 64", "trained at 64, over word vectors of 256", 64, 256),
    "numbers_64_of_256_long": _numbers(
        "first 64", "trained at 64, over word vectors of 256; 1,200 steps", 64, 256, is_long=True
    ),
    "numbers_128_of_256": _numbers("first 128", "trained at 128, over word vectors of 256", 128, 256),
}

ARCHITECTURE = Study(
    "architecture", ARMS, {"pooling": "pool_mean", "directions": "pool_mean", "first 64": "numbers_64"}
)
