import math

import pytest
import torch

from hybrid_search.settings.training import TowerConfig
from hybrid_search.training.data.arrays import ValidationData
from hybrid_search.training.data.rows import Rows
from hybrid_search.training.loop.validation import validate


class TwoTowers(torch.nn.Module):
    """Towers whose vectors are read off the tokens: query n looks along axis n, a document's tokens are its axes."""

    config = TowerConfig(similarity="dot")

    def encode_queries(self, ids):
        return torch.nn.functional.one_hot(ids[:, 0], 8).float()

    def encode_documents(self, ids):
        if self.training:
            raise AssertionError("documents were encoded in training mode")
        return torch.stack([torch.bincount(row, minlength=8)[:8].float() for row in ids])


DOCUMENTS = Rows.of([[1, 1, 1], [2, 2], [1, 1], [3], [1]])


def test_the_measure_is_the_mean_ndcg_over_the_whole_corpus():
    # Query 1 ranks documents 0, 2, 4; the relevant one is second: 1 / log2(3). Query 2's is first: 1.
    data = ValidationData(Rows.of([[1], [2]]), DOCUMENTS, Rows.of([[2], [1]]))
    assert validate(TwoTowers(), data) == pytest.approx((1 / math.log2(3) + 1) / 2)


def test_several_relevant_documents_count():
    # Documents 0 and 4 are at ranks 1 and 3; the best possible are ranks 1 and 2.
    data = ValidationData(Rows.of([[1]]), DOCUMENTS, Rows.of([[0, 4]]))
    assert validate(TwoTowers(), data) == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3)))


def test_the_towers_are_evaluated_in_evaluation_mode_and_put_back():
    towers = TwoTowers()
    data = ValidationData(Rows.of([[1]]), DOCUMENTS, Rows.of([[0]]))
    validate(towers.train(), data)
    assert towers.training
    validate(towers.eval(), data)
    assert not towers.training
