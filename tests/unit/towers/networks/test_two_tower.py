"""The towers against hand arithmetic, PyTorch's packed nets, and the invariants of padding and unknown words."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tiny_towers import assert_near, small_config, small_towers
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.encoders import RecurrentEncoder
from hybrid_search.towers.networks.two_tower import TwoTower

RECURRENT = list(
    itertools.product(["rnn", "gru", "lstm", "rec"], [False, True], ["last", "mean", "max", "attention", "idf"])
)
OTHERS = list(itertools.product(["mean", "cnn"], [False], ["last", "mean", "max", "attention", "idf"]))


@pytest.mark.parametrize(("encoder", "bidirectional", "pooling"), RECURRENT + OTHERS)
@pytest.mark.parametrize("residual", [False, True])
def test_padding_and_neighbours_never_change_a_vector(
    encoder: str, bidirectional: bool, pooling: str, residual: bool
) -> None:
    config = small_config(
        encoder=encoder, bidirectional=bidirectional, pooling=pooling, residual=residual, layers=2, head_layers=2
    )
    towers = small_towers(config)
    texts = [[2], [5, 1, 7], [9, 8, 7, 6, 5, 4], [1, 3]]
    alone = torch.cat([towers.encode_documents(torch.tensor([text])) for text in texts])
    batch = torch.tensor([text + [0] * (11 - len(text)) for text in texts])
    assert_near(towers.encode_documents(batch), alone, atol=1e-6)
    assert (alone[1] - alone[2]).abs().max() > 1e-3


@pytest.mark.parametrize("net", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_a_packed_net(net: type[nn.RNNBase], layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    kind = net.__name__.lower()
    encoder = RecurrentEncoder(small_config(encoder=kind, layers=layers, bidirectional=bidirectional)).eval()
    oracle = net(8, 6, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    oracle.load_state_dict(encoder.net.state_dict())
    embedded, lengths = torch.randn(4, 9, 8), torch.tensor([9, 5, 2, 1])
    packed = oracle(pack_padded_sequence(embedded, lengths, batch_first=True))[0]
    wanted = pad_packed_sequence(packed, batch_first=True)[0]
    inside = (torch.arange(9) < lengths[:, None])[:, :, None]
    assert_near(encoder(embedded, lengths) * inside, wanted, atol=1e-6)


def test_the_mean_tower_is_the_weighted_mean_of_its_word_vectors() -> None:
    vectors = np.array([[0, 0], [9, 9], [1, 0], [0, 1], [3, 4]], np.float32)
    counts = np.array([0, 0, 1, 0, 1])  # shares 1/2, 0, 1/2; with a = 1/2 the weights are 1/2, 1, 1/2
    config = TowerConfig(encoder="mean", dimension=2, embedding_dimension=2, similarity="dot", sif_a=0.5)
    towers = TwoTower(config, 5, vectors=vectors, counts=counts).eval()
    found = towers.encode_queries(torch.tensor([[2, 3, 4, 0], [2, 1, 0, 0]]))
    # (1/2 * (1, 0) + 1 * (0, 1) + 1/2 * (3, 4)) / 2; the unknown word counts for nothing
    assert found.tolist() == [pytest.approx([1.0, 1.5]), pytest.approx([1.0, 0.0])]


@pytest.mark.parametrize("encoder", ["rnn", "gru", "lstm", "rec", "cnn"])
def test_a_residual_tower_starts_as_the_mean_of_its_word_vectors(encoder: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    ids = torch.tensor([[2, 5, 11, 4]])
    towers = TwoTower(small_config(encoder=encoder), 12, vectors=vectors).eval()
    mean = vectors[[2, 5, 11, 4]].mean(axis=0)
    np.testing.assert_allclose(towers.encode_documents(ids).detach().numpy()[0], mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
def test_a_text_without_a_known_word_is_the_zero_vector(similarity: str) -> None:
    towers = small_towers(small_config(similarity=similarity))
    found = towers.encode_queries(torch.tensor([[0, 0, 0], [1, 1, 0], [1, 2, 0]]))
    assert not found[:2].any()
    assert found[2].any()


def test_a_text_without_a_known_word_leaves_gradients_finite() -> None:
    towers = small_towers(small_config(pooling="max"))
    towers.encode_queries(torch.tensor([[0, 0], [1, 0], [3, 4]])).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in towers.query_tower.parameters() if p.grad is not None)


def test_an_unknown_word_amid_known_ones_is_a_step_like_others() -> None:
    towers = small_towers(small_config())
    with_unknown, without = towers.encode_queries(torch.tensor([[3, 1, 4], [3, 4, 0]]))
    assert (with_unknown - without).abs().max() > 1e-4


def test_cosine_towers_give_unit_vectors_and_others_do_not() -> None:
    ids = torch.tensor([[2, 3, 4], [9, 8, 0]])
    unit = small_towers(small_config(similarity="cosine")).encode_queries(ids).norm(dim=1)
    raw = small_towers(small_config(similarity="l2")).encode_queries(ids).norm(dim=1)
    assert_near(unit, torch.ones(2))
    assert (raw - 1).abs().min() > 1e-3


@pytest.mark.parametrize(
    ("sharing", "same_tower", "tables"), [("tied", True, 1), ("shared_embeddings", False, 1), ("separate", False, 2)]
)
def test_towers_share_what_they_are_told_to(sharing: str, same_tower: bool, tables: int) -> None:
    towers = small_towers(small_config(towers=sharing))
    ids = torch.tensor([[2, 3, 4]])
    assert torch.equal(towers.encode_queries(ids), towers.encode_documents(ids)) == same_tower
    assert len(towers.embedding_parameters()) == tables


@pytest.mark.parametrize("sharing", ["tied", "shared_embeddings", "separate"])
def test_both_towers_start_as_equals(sharing: str) -> None:
    towers = TwoTower(small_config(towers=sharing, residual=False), 20).eval()
    ids = torch.tensor([[2, 3, 4]])
    assert torch.equal(towers.encode_queries(ids), towers.encode_documents(ids))


@pytest.mark.parametrize("sharing", ["shared_embeddings", "separate"])
@pytest.mark.parametrize("residual", [False, True])
def test_queries_may_be_read_forwards_alone_and_documents_in_both_directions(sharing: str, residual: bool) -> None:
    config = small_config(towers=sharing, residual=residual, bidirectional_queries=False, layers=2)
    towers = TwoTower(config, 20)
    one_way, both_ways = towers.query_tower, towers.document_tower
    assert (one_way.encoder.net.bidirectional, both_ways.encoder.net.bidirectional) == (False, True)
    assert (one_way.encoder.width, both_ways.encoder.width) == (6, 12)
    assert torch.equal(one_way.encoder.net.weight_ih_l0, both_ways.encoder.net.weight_ih_l0)
    assert len(towers.embedding_parameters()) == (1 if sharing == "shared_embeddings" else 2)
    ids = torch.tensor([[2, 3, 4], [5, 1, 0]])
    alike = torch.allclose(towers.eval().encode_queries(ids), towers.encode_documents(ids), atol=1e-6)
    assert alike == residual  # the path that both have is all there is at the start


@pytest.mark.parametrize("other", [{"encoder": "mean"}, {"bidirectional": False}, {"towers": "tied"}])
def test_towers_without_a_backward_direction_of_their_own_do_not_care_how_queries_are_read(
    other: dict[str, object],
) -> None:
    asked, left_alone = (
        small_towers(small_config(bidirectional_queries=both, **other)).state_dict() for both in (False, True)
    )
    assert asked.keys() == left_alone.keys()
    assert all(torch.equal(weights, left_alone[name]) for name, weights in asked.items())


@pytest.mark.parametrize("sparse", [False, True])
def test_frozen_word_vectors_get_no_gradient_and_thawed_ones_do(sparse: bool) -> None:
    towers = small_towers(small_config(towers="separate"))
    towers.use_sparse_gradients(sparse)
    ids = torch.tensor([[2, 3, 4]])
    towers.freeze_embeddings(True)
    (towers.encode_queries(ids) + towers.encode_documents(ids)).sum().backward()
    assert all(table.grad is None for table in towers.embedding_parameters())
    towers.freeze_embeddings(False)
    (towers.encode_queries(ids) + towers.encode_documents(ids)).sum().backward()
    assert all(table.grad is not None and table.grad.is_sparse == sparse for table in towers.embedding_parameters())


def test_recurrent_weights_start_orthogonal() -> None:
    weight = RecurrentEncoder(small_config()).net.weight_hh_l0
    for gate in weight.chunk(3):
        assert_near(gate @ gate.T, torch.eye(6), atol=1e-5)


def test_a_convolution_of_even_kernel_keeps_the_length() -> None:
    towers = small_towers(small_config(encoder="cnn", kernel=4))
    assert towers.encode_queries(torch.tensor([[2]])).shape == (1, 8)


def test_the_vector_may_be_shorter_than_the_word_vectors() -> None:
    towers = TwoTower(small_config(dimension=3, head_layers=3, layer_norm=True), 20).eval()
    assert towers.encode_queries(torch.tensor([[2, 5]])).shape == (1, 3)


def test_a_tower_without_head_must_have_the_encoders_width() -> None:
    assert TwoTower(small_config(head_layers=0, residual=False, dimension=12), 20) is not None
    with pytest.raises(ConfigError, match="dimension is 8; without head layers it must be the encoder's, 12"):
        TwoTower(small_config(head_layers=0, residual=False), 20)
    with pytest.raises(ConfigError, match="head_layers is 0; it must be at least 1 with residual"):
        TwoTower(small_config(head_layers=0), 20)
