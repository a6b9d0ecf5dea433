import numpy as np
import pytest

from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Rows
from hybrid_search.training.loop.batches import Batches, epoch_batches
from hybrid_search.training.negatives.sampler import NegativeSampler, mix_at


def data(**changes):
    fields = {
        "queries": Rows.of([[10], [11, 12], [13]]),
        "documents": Rows.of([[20], [21, 21, 21], [22], [23], [24]]),
        "pairs": np.array([[0, 0], [1, 1], [2, 2]], dtype=np.int32),
        "positives": Rows.of([[0, 1], [1], [2]]),
        "negatives": {"bm25": Rows.of([[3], [3, 4], []])},
    }
    return TrainingData(**{**fields, **changes})


def test_rows_give_back_what_was_put_in_and_pad_on_the_right():
    rows = Rows.of([[5, 6], [], [7]])
    assert len(rows) == 3
    assert rows[0].tolist() == [5, 6]
    assert rows.lengths().tolist() == [2, 0, 1]
    assert rows.padded([2, 0]).tolist() == [[7, 0], [5, 6]]


def test_an_empty_text_is_one_column_of_padding():
    assert Rows.of([[], []]).padded([0, 1]).tolist() == [[0], [0]]


def test_every_pair_comes_up_once_an_epoch_in_full_batches():
    pairs = np.array([[i, i] for i in range(12)], dtype=np.int32)
    batches = epoch_batches(pairs, 4, seed=0, epoch=0)
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert sorted(np.concatenate(batches).tolist()) == list(range(12))


def test_the_order_depends_on_seed_and_epoch_alone():
    pairs = np.array([[i, i] for i in range(50)], dtype=np.int32)
    first = np.concatenate(epoch_batches(pairs, 5, seed=1, epoch=2)).tolist()
    assert np.concatenate(epoch_batches(pairs, 5, seed=1, epoch=2)).tolist() == first
    assert np.concatenate(epoch_batches(pairs, 5, seed=1, epoch=3)).tolist() != first
    assert np.concatenate(epoch_batches(pairs, 5, seed=2, epoch=2)).tolist() != first


def test_no_query_and_no_positive_text_is_twice_in_a_batch_while_others_can_fill_it():
    # 20 queries with 3 positives each; every tenth document belongs to two queries.
    pairs = np.array([[q, (q * 3 + i) % 55] for q in range(20) for i in range(3)], dtype=np.int32)
    for epoch in range(5):
        for batch in epoch_batches(pairs, 6, seed=0, epoch=epoch)[:-2]:
            queries, documents = pairs[batch].T
            assert len(set(queries.tolist())) == 6
            assert len(set(documents.tolist())) == 6


def test_one_query_with_all_the_positives_still_fills_its_batches():
    pairs = np.array([[0, i] for i in range(6)], dtype=np.int32)
    assert [len(batch) for batch in epoch_batches(pairs, 3, seed=0, epoch=0)] == [3, 3]


def test_fewer_pairs_than_a_batch_make_one_smaller_batch():
    pairs = np.array([[0, 0], [1, 1]], dtype=np.int32)
    assert [len(batch) for batch in epoch_batches(pairs, 64, seed=0, epoch=0)] == [2]


def test_a_known_positive_in_the_batch_is_masked_for_its_query_only():
    batches = Batches(data(), TrainConfig(batch_size=3, hard_negatives=0, self_supervised=0, epochs=1))
    batch = batches.at(0)
    # Rows may come in any order; name them by their first token.
    queries, documents = batch.queries[:, 0].tolist(), batch.documents[:, 0].tolist()
    masked = {(queries[i], documents[j]) for i, j in batch.mask.nonzero().tolist()}
    assert masked == {(10, 20), (10, 21), (11, 21), (13, 22)}


def test_a_batch_holds_the_positives_then_each_examples_hard_negatives():
    batch = Batches(data(), TrainConfig(batch_size=3, hard_negatives=2, self_supervised=0, epochs=1)).at(0)
    assert batch.documents.shape[0] == 3 + 3 * 2
    place = batch.queries[:, 0].tolist().index(10)
    assert batch.documents[3 + 2 * place : 5 + 2 * place, 0].tolist() == [23, 23]
    assert batch.teacher is None


def test_steps_are_the_epochs_unless_fewer_are_asked_for():
    assert Batches(data(), TrainConfig(batch_size=3, epochs=7)).steps == 7
    assert Batches(data(), TrainConfig(batch_size=3, epochs=7, max_steps=5)).steps == 5
    assert Batches(data(), TrainConfig(batch_size=3, epochs=7, max_steps=9)).steps == 7
    assert Batches(data(), TrainConfig(batch_size=3)).steps == 600
    assert Batches(data(), TrainConfig(batch_size=3, max_steps=50)).steps == 50


def many_documents(pairs: int) -> TrainingData:
    rows = np.arange(pairs, dtype=np.int32)
    return data(
        queries=Rows.of([[10_000 + row] for row in range(pairs)]),
        documents=Rows.of([list(range(100 + 20 * row, 120 + 20 * row)) for row in range(320)]),
        pairs=np.column_stack([rows, rows]),
        positives=Rows.of([[row] for row in range(pairs)]),
        negatives={},
    )


@pytest.mark.parametrize(
    ("pairs", "labelled", "steps"),
    [
        (0, 0, 80),  # 320 documents are 40 batches of 8 made examples
        (10, 1, 80),  # not more than 20 times one label, so one a batch, met four times as often as asked
        (100, 2, 80),  # 200 labelled examples in two epochs are two for each of the 80 batches
        (160, 4, 80),  # the labels alone bring 80 steps
        (240, 4, 120),
    ],
)
def test_few_labels_give_way_to_made_examples_over_as_many_steps_as_without_labels(pairs, labelled, steps):
    batches = Batches(many_documents(pairs), TrainConfig(batch_size=4, epochs=2, self_supervised=1.0, hard_negatives=0))
    assert batches.steps == steps
    batch = batches.at(steps - 1)
    own = (batch.queries[:, 0] >= 10_000).sum()
    assert (int(own), len(batch.queries)) == (labelled, 8)


def test_a_batch_carries_the_teachers_scores_of_its_own_candidates():
    teacher = {(0, 0): 9.0, (0, 3): 1.0, (1, 1): 8.0, (1, 4): 2.0, (2, 2): 7.0, (2, 3): 3.0}
    distilled = data(teacher=teacher, teacher_negatives=Rows.of([[3], [4], [3]]))
    batch = Batches(distilled, TrainConfig(batch_size=3, epochs=1)).at(0)
    expected = {10: [9.0, 1.0], 11: [8.0, 2.0], 13: [7.0, 3.0]}
    assert batch.teacher.tolist() == [expected[query] for query in batch.queries[:, 0].tolist()]


def test_the_mix_of_sources_changes_at_its_share_of_the_run():
    schedule = ((0.0, {"random": 1.0}), (0.5, {"bm25": 3.0, "dense": 1.0}))
    assert mix_at(schedule, 0.49) == {"random": 1.0}
    assert mix_at(schedule, 0.5) == {"bm25": 3.0, "dense": 1.0}


def sampler(many, mix, seed=0):
    config = TrainConfig(hard_negatives=many, negatives=((0.0, mix),), seed=seed)
    return NegativeSampler(data(), config, steps=10)


def test_negatives_depend_on_seed_and_step_alone():
    queries = np.array([0, 1, 2], dtype=np.int32)
    first = sampler(4, {"random": 1.0}).draw(queries, 3).tolist()
    assert sampler(4, {"random": 1.0}).draw(queries, 3).tolist() == first
    assert sampler(4, {"random": 1.0}).draw(queries, 4).tolist() != first
    assert sampler(4, {"random": 1.0}, seed=1).draw(queries, 3).tolist() != first


def test_a_random_negative_is_no_positive_of_its_query():
    queries = np.array([0] * 50, dtype=np.int32)
    assert set(sampler(2, {"random": 1.0}).draw(queries, 0).ravel().tolist()) == {2, 3, 4}


def test_a_query_without_mined_negatives_gets_random_ones():
    drawn = sampler(1, {"bm25": 1.0}).draw(np.array([2] * 40, dtype=np.int32), 0)
    assert set(drawn.ravel().tolist()) == {0, 1, 3, 4}


def test_sources_are_drawn_in_their_shares():
    mixed = data(negatives={"bm25": Rows.of([[3]] * 3), "dense": Rows.of([[4]] * 3)})
    config = TrainConfig(hard_negatives=1, negatives=((0.0, {"bm25": 3.0, "dense": 1.0}),))
    drawn = NegativeSampler(mixed, config, 1).draw(np.zeros(4_000, dtype=np.int32), 0)
    assert (drawn == 3).mean() == pytest.approx(0.75, abs=0.03)
    assert set(drawn.ravel().tolist()) == {3, 4}
