"""The queue of earlier batches' documents: what is kept, what a query may not meet, and what comes of it."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from torch.nn.functional import cross_entropy

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.loop.batches import Batch, Batches
from hybrid_search.training.loop.objective import DocumentQueue, Objective

TWO_WIDE = synthetic.TOWERS.replace(dimension=2, embedding_dimension=2)


class Given:
    """Towers that give the vectors that the test wrote down."""

    config = TWO_WIDE

    def __init__(self, queries, documents):
        self.queries, self.documents = torch.tensor(queries), torch.tensor(documents)

    def encode_queries(self, ids):
        return self.queries

    def encode_documents(self, ids):
        return self.documents


def batch(rows, answers):
    tokens = torch.ones(len(rows), 1, dtype=torch.int64)
    mask = torch.eye(len(answers), len(rows), dtype=torch.bool)
    known = [np.array(row) for row in answers]
    return Batch(tokens[: len(answers)], tokens, mask, rows=torch.tensor(rows), answers=known)


def test_a_query_never_meets_its_own_answer_or_a_place_that_is_still_free():
    queue = DocumentQueue(4, 2)
    queue.put(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), batch([7, 8, 9], [[7], [8]]))
    documents, seen = queue.appended_to(torch.zeros(2, 2), batch([5, 6], [[5, 9, 4], [6, 7]]))
    assert documents.tolist() == [[0, 0], [0, 0], [1, 0], [0, 1], [pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    kept = {7: 2, 8: 3, 9: 4}
    free = 5
    assert np.flatnonzero(seen.mask[0].numpy()).tolist() == [0, kept[9], free]
    assert np.flatnonzero(seen.mask[1].numpy()).tolist() == [1, kept[7], free]


def test_the_newest_documents_take_the_place_of_the_oldest():
    queue = DocumentQueue(3, 1)
    for rows in ([1, 2], [3, 4], [5]):
        queue.put(torch.tensor(rows, dtype=torch.float32)[:, None], batch(rows, [[0]]))
    assert queue.rows.tolist() == [5, 3, 4]
    assert queue.vectors[:, 0].tolist() == [5.0, 3.0, 4.0]


def test_info_nce_counts_the_kept_documents_as_negatives():
    objective = Objective(TrainConfig(queue=2, temperature=0.5), TWO_WIDE)
    first, _ = objective(Given([[1.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]]), batch([1, 2], [[1]]))
    assert first.item() == pytest.approx(cross_entropy(torch.tensor([[2.0, 1.2]]), torch.tensor([0])).item())
    # Kept are (1, 0) of row 1 and (.6, .8) of row 2; row 2 answers this query and is none of its negatives.
    second, _ = objective(Given([[0.0, 1.0]], [[0.6, 0.8]]), batch([3], [[3, 2]]))
    assert second.item() == pytest.approx(cross_entropy(torch.tensor([[1.6, 0.0]]), torch.tensor([0])).item())


def test_the_hardest_negative_of_a_triplet_may_be_a_kept_document():
    config = TrainConfig(loss="triplet", queue=2, margin=0.2)
    objective = Objective(config, TWO_WIDE)
    objective(Given([[1.0, 0.0]], [[0.8, 0.6], [-1.0, 0.0]]), batch([1, 2], [[1]]))
    loss, _ = objective(Given([[1.0, 0.0]], [[0.6, 0.8]]), batch([3], [[3]]))
    # Distances: the positive .4, the kept ones .2 and 2; the nearest violates the margin by .4 - .2 + .2.
    assert loss.item() == pytest.approx(0.4)


def test_no_gradient_goes_through_a_kept_vector():
    towers = synthetic.towers()
    config = synthetic.TRAINING.replace(queue=30)
    objective, batches = Objective(config, synthetic.TOWERS), Batches(synthetic.training_data(), config)
    objective(towers, batches.at(0))
    assert not next(objective.children()).vectors.requires_grad
    loss, _ = objective(towers, batches.at(1))
    loss.backward()  # a graph that reached back into step 0 would be there twice
    objective(towers, batches.at(2))[0].backward()


def test_a_batch_knows_its_documents_rows_and_every_answer_of_its_queries():
    data = synthetic.training_data()
    made = Batches(data, synthetic.TRAINING.replace(queue=10)).at(0)
    assert len(made.rows) == len(made.documents)
    assert [int(made.rows[i]) in known for i, known in enumerate(made.answers)] == [True] * len(made.queries)
    without = Batches(data, synthetic.TRAINING).at(0)
    assert without.rows is None
    assert without.answers is None
    assert dataclasses.replace(made, rows=None, answers=None).mask.equal(without.mask)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "contrastive"},
        {"loss": "triplet", "triplet_mining": "given"},
        {"loss": "kl", "teacher_scores": "scores.jsonl"},
        {"loss": "align", "teacher": "file"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_a_loss_that_takes_no_other_negatives_refuses_a_queue(changes):
    with pytest.raises(ConfigError, match=r"queue is 8; it must be 0 with loss .*only infonce, and triplet with"):
        TrainConfig(queue=8, **changes)
