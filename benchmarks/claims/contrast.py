"""The arms of the study ``contrast``: how many candidates InfoNCE chooses among, which, and at what temperature.

A step sees ``batch_size`` labelled pairs and as many made ones; each query chooses its document among all of theirs and
their hard negatives. Batches of other sizes are shown as many pairs in all as the base's (9,600), so they make fewer or
more steps; two arms make as many steps as the base instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.claims.arms import BASE, BASE_ARM, Arm, Study

__all__ = ["CONTRAST"]

_PAIRS = 9_600
_MOST_EPOCHS = 40


def _batch(size: int, *, steps: int = 0, temperature: float = 0.05) -> Arm:
    count = steps or _PAIRS // size
    about = f"{size} pairs a batch" + (f", {count} steps" if steps else "")
    about += f", temperature {temperature:g}" if temperature != 0.05 else ""
    given = {"batch_size": size, "max_steps": count, "epochs": _MOST_EPOCHS, "temperature": temperature}
    question = "batch and temperature" if temperature != 0.05 else "batch"
    return Arm(question, about, training=given)


def _temperature(value: float) -> Arm:
    return Arm("temperature", f"temperature {value:g}", training={"temperature": value})


def _negatives(count: int) -> Arm:
    about = "no hard negative" if not count else f"{count} BM25 negatives"
    return Arm("negatives", about, training={"hard_negatives": count})


ARMS: Mapping[str, Arm] = {
    BASE: BASE_ARM,
    "batch_8": _batch(8),
    "batch_16": _batch(16),
    "batch_64": _batch(64),
    "batch_128": _batch(128),
    "batch_8_steps": _batch(8, steps=300),
    "batch_128_steps": _batch(128, steps=300),
    "temperature_01": _temperature(0.01),
    "temperature_02": _temperature(0.02),
    "temperature_1": _temperature(0.1),
    "temperature_2": _temperature(0.2),
    "negatives_0": _negatives(0),
    "negatives_2": _negatives(2),
    "negatives_4": _negatives(4),
    "negatives_8": _negatives(8),
    "batch_8_temperature_02": _batch(8, temperature=0.02),
    "batch_8_temperature_1": _batch(8, temperature=0.1),
    "batch_128_temperature_02": _batch(128, temperature=0.02),
    "batch_128_temperature_1": _batch(128, temperature=0.1),
}

CONTRAST = Study("contrast", ARMS, {})
