"""Losses on the first numbers of the vectors too, and towers cut to them."""

import pytest
import synthetic
import torch
from torch.nn.functional import cosine_similarity, normalize

from hybrid_search.errors import ConfigError
from hybrid_search.towers import losses
from hybrid_search.towers.shortening import shortened
from hybrid_search.train_config import TrainConfig
from hybrid_search.training.batches import Batch
from hybrid_search.training.loop import train_towers
from hybrid_search.training.matryoshka import first_numbers
from hybrid_search.training.objective import Objective
from hybrid_search.training.validation import validate

THREE_WIDE = synthetic.TOWERS.replace(dimension=3, embedding_dimension=3)
QUERIES = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
DOCUMENTS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
MASK = torch.eye(2, dtype=torch.bool)
TOKENS = torch.ones(2, 1, dtype=torch.int64)


class NoTracker:
    def log(self, step, values):
        pass


class Given:
    """Towers that give the vectors above."""

    config = THREE_WIDE

    def encode_queries(self, ids):
        return QUERIES[: len(ids)]

    def encode_documents(self, ids):
        return DOCUMENTS[: len(ids)]


def test_the_first_numbers_have_unit_length_again_with_cosine_alone():
    vectors = torch.tensor([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]])
    assert first_numbers(vectors, 2, "cosine").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert first_numbers(vectors, 2, "dot").tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert len(first_numbers(torch.zeros(0), 2, "cosine")) == 0


def test_the_loss_is_the_mean_of_the_losses_on_each_size():
    config = TrainConfig(matryoshka=(1, 2), temperature=0.5)
    loss, _ = Objective(config, THREE_WIDE)(Given(), Batch(TOKENS, TOKENS, MASK))
    parts = [
        losses.info_nce(normalize(QUERIES[:, :size]) @ normalize(DOCUMENTS[:, :size]).T / 0.5, MASK)
        for size in (1, 2, 3)
    ]
    assert loss.item() == pytest.approx(torch.stack(parts).mean().item(), abs=1e-6)


def test_vectors_that_follow_a_teacher_follow_its_first_numbers_too():
    config = TrainConfig(loss="align", teacher="file", matryoshka=(2,))
    targets = torch.tensor([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]])
    no_queries = torch.ones(0, 1, dtype=torch.int64)
    batch = Batch(no_queries, TOKENS, torch.zeros(0, 2, dtype=torch.bool), targets=targets)
    loss, _ = Objective(config, THREE_WIDE)(Given(), batch)
    parts = [(1 - cosine_similarity(DOCUMENTS[:, :size], targets[:, :size], dim=1)).mean() for size in (2, 3)]
    assert loss.item() == pytest.approx(torch.stack(parts).mean().item(), abs=1e-6)


@pytest.mark.parametrize("size", [16, 17])
def test_a_size_that_is_no_shorter_than_the_vectors_is_refused_before_the_first_step(tmp_path, size):
    config = synthetic.TRAINING.replace(matryoshka=(8, size))
    with pytest.raises(ConfigError, match=rf"matryoshka has the size {size}; it must be below the dimension, 16"):
        train_towers(synthetic.towers(), synthetic.training_data(), config, work=tmp_path, tracker=NoTracker())


def test_a_size_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"matryoshka is .*sizes of at least 1"):
        TrainConfig(matryoshka=(0,))


def test_towers_trained_so_rank_better_by_their_first_numbers(tmp_path):
    data = synthetic.training_data()
    reached = {}
    for name, sizes in (("plain", ()), ("matryoshka", (3,))):
        towers, config = synthetic.towers(), synthetic.TRAINING.replace(matryoshka=sizes)
        train_towers(towers, data, config, work=tmp_path / name, tracker=NoTracker())
        reached[name] = validate(shortened(towers, 3), data.validation)
    assert reached["matryoshka"] > reached["plain"] + 0.1
