"""What is told of the towers' weights: their number, their norms, and how they are spread, where a tracker asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic import TOWERS, TRAINING, VOCABULARY, training_data

from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.loop.loop import train_towers
from hybrid_search.training.loop.weights import parameters_of, weights_of
from hybrid_search.training.tracking import Histogram, JsonlTracker


@pytest.mark.parametrize(
    ("sharing", "tables", "networks"), [("tied", 1, 1), ("shared_embeddings", 1, 2), ("separate", 2, 2)]
)
def test_what_both_towers_share_is_counted_once(sharing: Any, tables: int, networks: int) -> None:
    towers = TwoTower(TOWERS.replace(towers=sharing, encoder="mean", head_layers=1), VOCABULARY)
    counts = parameters_of(towers)
    # The head from 16 to 16 numbers with its bias, the projection of 16 by 16, and a weight for each word.
    beside = (16 * 16 + 16) + 16 * 16 + VOCABULARY
    assert counts["word_vectors"] == tables * VOCABULARY * 16
    assert (counts["query_tower"], counts["document_tower"]) == (beside, beside)
    assert counts["all"] == tables * VOCABULARY * 16 + networks * beside


def test_the_shift_of_adapted_towers_is_a_second_table_of_word_vectors() -> None:
    plain = parameters_of(TwoTower(TOWERS, VOCABULARY))
    adapted = parameters_of(TwoTower(TOWERS.replace(adapted=True), VOCABULARY))
    assert adapted["word_vectors"] == 2 * plain["word_vectors"]
    assert adapted["query_tower"] == plain["query_tower"]


def test_norms_and_spread_are_those_of_the_values() -> None:
    found = weights_of({"head": torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))})
    assert found["weight_norm/head"] == 5.0
    histogram = found["weights/head"]
    assert isinstance(histogram, Histogram)
    counts, edges = histogram.counted()
    assert (counts.sum(), counts[0], counts[-1]) == (4, 1, 1)
    assert (edges[0], edges[-1], len(edges)) == (-4.0, 3.0, len(counts) + 1)


def test_numbers_that_are_none_are_left_out_of_a_histogram() -> None:
    counts, _ = Histogram(np.array([np.nan, np.inf, 1.0, 2.0], np.float32)).counted()
    assert counts.sum() == 2


class Kept:
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def log(self, step: int, values: Any) -> None:
        self.logged.append((step, dict(values)))

    def close(self) -> None:
        pass


def test_a_run_logs_its_parameters_once_and_its_norms_with_every_validation(tmp_path: Path) -> None:
    towers, kept = TwoTower(TOWERS, VOCABULARY), Kept()
    train_towers(towers, training_data(), TRAINING.replace(epochs=2), work=tmp_path / "work", tracker=kept)
    assert kept.logged[0][1]["parameters"] == parameters_of(towers)
    measured = [values for _, values in kept.logged if "nDCG@10" in values]
    assert len(measured) > 1
    names = {name for name, _ in towers.named_parameters()}
    for values in measured:
        assert {name.removeprefix("weight_norm/") for name in values if name.startswith("weight_norm/")} == names
    log = JsonlTracker(tmp_path / "log.jsonl")
    log.log(0, measured[0])
    log.close()
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert sum(name.startswith("weight_norm/") for name in line) == len(names)
    assert not any(name.startswith("weights/") for name in line)
