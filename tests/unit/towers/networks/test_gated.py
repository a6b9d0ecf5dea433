"""The recurrence with gates of the input, against a plain loop in float64 and numeric derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_towers import assert_near, small_config, small_towers

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks import gated
from hybrid_search.towers.networks.gated import GatedEncoder, remembered
from hybrid_search.towers.networks.two_tower import TwoTower, cosines_to_shuffled


def plain_loop(gates: np.ndarray, values: np.ndarray, both: bool) -> np.ndarray:
    """The recurrence a number at a time."""
    steps, rows, channels = gates.shape
    states = np.zeros_like(values)
    for row in range(rows):
        for channel in range(channels):
            backwards = both and channel >= channels // 2
            memory = 0.0
            for step in reversed(range(steps)) if backwards else range(steps):
                gate = gates[step, row, channel]
                memory = (1 - gate) * memory + gate * values[step, row, channel]
                states[step, row, channel] = memory
    return states


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_what_is_remembered_is_that_of_a_plain_loop(directions: int, steps: int) -> None:
    draw = np.random.default_rng(steps)
    gates, values = draw.random((steps, 3, 4)), draw.standard_normal((steps, 3, 4))
    found = remembered(torch.from_numpy(gates), torch.from_numpy(values), directions)
    np.testing.assert_allclose(found.numpy(), plain_loop(gates, values, directions == 2), atol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_derivatives_are_those_of_small_differences(directions: int, steps: int) -> None:
    torch.manual_seed(0)
    gates = torch.rand(steps, 2, 4, dtype=torch.double, requires_grad=True)
    values = torch.randn(steps, 2, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, v: remembered(z, v, directions), (gates, values))


def test_an_untrained_network_returns_the_word_vectors_themselves() -> None:
    embedded = torch.randn(3, 5, 8)
    states = GatedEncoder(small_config(encoder="rec", layers=3))(embedded, torch.tensor([5, 1, 0]))
    assert torch.equal(states, embedded)


def test_the_order_of_words_changes_a_vector_and_that_of_a_mean_does_not() -> None:
    ids = torch.tensor([[2, 3, 4, 5], [5, 3, 2, 4]])
    first, other = small_towers(small_config(encoder="rec", pooling="idf", residual=False)).encode_documents(ids)
    assert (first - other).abs().max() > 1e-3
    first, other = small_towers(small_config(encoder="mean")).encode_documents(ids)
    assert_near(first, other)


def test_shuffled_words_give_the_same_vector_in_a_mean_and_another_in_a_recurrence() -> None:
    draw = np.random.default_rng(0)
    texts = [draw.integers(2, 30, length).astype(np.int32) for length in (1, 2, 5, 9, 20)]
    mean = cosines_to_shuffled(small_towers(small_config(encoder="mean")), queries=texts, documents=texts)
    assert mean == {"queries": 1.0, "documents": 1.0}
    towers = small_towers(small_config(encoder="rec", pooling="idf", residual=False))
    assert 0 < cosines_to_shuffled(towers, queries=texts[:2], documents=texts)["documents"] < 0.9995
    assert "queries" not in cosines_to_shuffled(towers, queries=texts[:2], documents=texts)


def test_a_reader_in_one_direction_knows_nothing_of_what_follows() -> None:
    """Beside the channels that are the text's mean: they are cut out here."""
    encoder = GatedEncoder(small_config(encoder="rec", bidirectional=False, layers=2))
    with torch.no_grad():
        for layer in encoder.layers:
            layer.exit.weight.normal_()
            layer.exit.weight[:, layer.channels :] = 0
    embedded = torch.randn(1, 6, 8)
    changed = embedded.clone()
    changed[0, 4:] += 1
    lengths = torch.tensor([6])
    found, other = encoder(embedded, lengths), encoder(changed, lengths)
    assert_near(found[0, :4], other[0, :4])
    assert (found[0, 4:] - other[0, 4:]).abs().max() > 1e-3


def test_a_query_tower_may_be_smaller_than_the_document_tower() -> None:
    config = small_config(
        encoder="rec", layers=2, query_layers=1, hidden=6, query_hidden=3, bidirectional_queries=False, residual=False
    )
    towers = TwoTower(config, 30)
    shapes = [
        [tuple(layer.exit.weight.shape) for layer in tower.encoder.layers]
        for tower in (towers.query_tower, towers.document_tower)
    ]
    # To the 8 of a word vector, from channels of each direction and as many means as channels of one.
    assert shapes == [[(8, 3 + 3)], [(8, 12 + 6), (8, 12 + 6)]]
    assert towers.query_tower.embedding is towers.document_tower.embedding
    with pytest.raises(ConfigError, match="query_layers is 1; it must be 0 where both towers are one"):
        TowerConfig(towers="tied", query_layers=1)


def test_products_in_bfloat16_change_a_vector_by_less_than_a_hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    towers = small_towers(small_config(encoder="rec", layers=2, pooling="idf", residual=False))
    ids = torch.from_numpy(np.random.default_rng(0).integers(1, 30, (20, 12)))
    exact = towers.encode_documents(ids)
    towers.train()
    monkeypatch.setattr(gated, "_rounds", lambda states: True)
    rounded = towers.encode_documents(ids)
    cosines = (exact * rounded).sum(1).detach()
    assert 1e-7 < 1 - float(cosines.min()) < 1e-2
