import pytest
import synthetic
import torch

from hybrid_search.training.loop.batches import Batches
from hybrid_search.training.loop.objective import Objective
from hybrid_search.training.loop.optimiser import Optimisers, clip_gradients


def one_step(config, factor=1.0):
    towers, objective = synthetic.towers(), Objective(config, synthetic.TOWERS)
    optimisers = Optimisers(towers, objective, config)
    before = {name: tensor.clone() for name, tensor in towers.state_dict().items()}
    towers.freeze_embeddings(config.frozen_steps < 0)
    objective(towers, Batches(synthetic.training_data(), config).at(0))[0].backward()
    optimisers.step(factor)
    moved = {n: (t - before[n]).abs().max().item() for n, t in towers.state_dict().items()}
    return towers, moved


def test_word_vectors_and_their_weights_have_a_learning_rate_of_their_own():
    # Adam's first step is as long as its learning rate.
    config = synthetic.TRAINING.replace(learning_rate=1e-3, embedding_learning_rate=5e-2)
    _, moved = one_step(config)
    assert moved["query_tower.embedding.weight"] == pytest.approx(5e-2, rel=1e-3)
    assert moved["query_tower.log_weights"] == pytest.approx(5e-2, rel=1e-2)
    assert moved["query_tower.projection.weight"] == pytest.approx(1e-3, rel=1e-2)


def test_all_rates_follow_the_schedules_factor():
    _, moved = one_step(synthetic.TRAINING.replace(learning_rate=1e-3, embedding_learning_rate=5e-2), factor=0.5)
    assert moved["query_tower.embedding.weight"] == pytest.approx(2.5e-2, rel=1e-3)
    assert moved["query_tower.projection.weight"] == pytest.approx(5e-4, rel=1e-2)


def test_frozen_word_vectors_need_no_optimiser():
    _, moved = one_step(synthetic.TRAINING.replace(frozen_steps=-1))
    assert moved["query_tower.embedding.weight"] == 0
    assert moved["query_tower.projection.weight"] > 0


def test_a_learnt_temperature_moves():
    config = synthetic.TRAINING.replace(learn_temperature=True)
    towers, objective = synthetic.towers(), Objective(config, synthetic.TOWERS)
    optimisers = Optimisers(towers, objective, config)
    objective(towers, Batches(synthetic.training_data(), config).at(0))[0].backward()
    optimisers.step(1.0)
    assert objective.temperature.item() != pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients_are_scaled_together_to_the_limit(sparse):
    embedding = torch.nn.Embedding.from_pretrained(torch.ones(3, 2), freeze=False, sparse=sparse)
    other = torch.nn.Parameter(torch.zeros(1))
    # The token stands twice, so its gradient is 2 x (1, 1); with the other's 4 the norm is sqrt(4 + 4 + 16).
    (embedding(torch.tensor([1, 1])).sum() + 4 * other.sum()).backward()
    assert clip_gradients([embedding.weight, other], 1.0) == pytest.approx(24**0.5)
    assert embedding.weight.grad.to_dense()[1].tolist() == pytest.approx([2 / 24**0.5] * 2)
    assert other.grad.item() == pytest.approx(4 / 24**0.5)


def test_gradients_below_the_limit_are_left_and_no_gradients_have_no_norm():
    parameter = torch.nn.Parameter(torch.zeros(1))
    assert clip_gradients([parameter], 1.0) == 0.0
    parameter.grad = torch.tensor([0.5])
    assert clip_gradients([parameter], 1.0) == 0.5
    assert parameter.grad.item() == 0.5
