import numpy as np
import pytest
import synthetic
import torch

from hybrid_search.errors import TrainingError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.alignment import Alignment, principal_axes, unit_rows
from hybrid_search.training.loop.batches import AlignedBatches, batches_of
from hybrid_search.training.loop.loop import train_towers

ALIGN = synthetic.TRAINING.replace(loss="align", teacher="file", epochs=20, embedding_learning_rate=2e-2)


def tokens(*lengths):
    return [np.arange(2, 2 + length, dtype=np.int32) for length in lengths]


def small(queries=3, documents=5, dimension=4):
    generator = np.random.default_rng(0)
    made = [unit_rows(generator.normal(size=(n, dimension)).astype(np.float32)) for n in (queries, documents)]
    first, last = 1 + queries, 1 + queries + documents
    return Alignment.of(
        [(tokens(*range(1, first)), made[0], 0.5, True), (tokens(*range(first, last)), made[1], 0.5, False)]
    )


def test_axes_keep_inner_products_of_vectors_that_fill_few_dimensions():
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(3, 20)).astype(np.float32)
    vectors = generator.normal(size=(100, 3)).astype(np.float32) @ plane
    projected = vectors @ principal_axes(vectors, 3)
    assert projected.shape == (100, 3)
    assert np.allclose(projected @ projected.T, vectors @ vectors.T, rtol=1e-3, atol=1e-2)


def test_the_first_axis_is_that_of_the_mean_when_all_vectors_lie_on_one_side():
    vectors = np.array([[3, 1], [3, -1]], dtype=np.float32)
    assert np.allclose(principal_axes(vectors, 1), [[1], [0]])


def test_a_teacher_with_fewer_numbers_is_filled_up_with_zeros():
    axes = principal_axes(np.eye(2, dtype=np.float32), 5)
    assert axes.shape == (2, 5)
    assert not axes[:, 2:].any()


def test_unit_rows_leave_a_zero_row_alone():
    assert unit_rows(np.array([[3, 4], [0, 0]], dtype=np.float32)).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


def test_texts_without_tokens_are_left_out():
    axes = np.eye(2, dtype=np.float32)
    alignment = Alignment.of([(tokens(0, 2), axes, 0.5, True), (tokens(3), axes[:1], 0.5, False)])
    assert alignment.queries == 1
    assert alignment.texts.lengths().tolist() == [2, 3]
    assert alignment.targets.tolist() == [[0, 1], [1, 0]]


def test_no_text_at_all_is_an_error():
    with pytest.raises(TrainingError, match="a vector for none of the texts"):
        Alignment.of([([], np.zeros((0, 2), np.float32), 0.5, True)])


def test_a_batch_pairs_each_text_with_its_own_target():
    alignment = small()
    batch = AlignedBatches(alignment, TrainConfig(batch_size=8)).at(0)
    lengths = torch.cat([(batch.queries != 0).sum(1), (batch.documents != 0).sum(1)])
    by_length = dict(
        zip(alignment.texts.lengths().tolist(), alignment.targets.astype(np.float32).tolist(), strict=True)
    )
    assert batch.targets.tolist() == [by_length[length] for length in lengths.tolist()]
    assert lengths[: len(batch.queries)].max() <= 3 < lengths[len(batch.queries) :].min()


def test_every_kind_gets_its_share_however_few_its_texts_are():
    alignment = small(queries=1, documents=200)
    batch = AlignedBatches(alignment, TrainConfig(batch_size=10)).at(0)
    assert (len(batch.queries), len(batch.documents)) == (5, 5)


def test_the_share_of_a_kind_without_texts_goes_to_the_others():
    batch = AlignedBatches(small(queries=0, documents=3), TrainConfig(batch_size=10)).at(0)
    assert (len(batch.queries), len(batch.documents)) == (0, 10)


def test_steps_may_be_asked_for_in_any_order_and_depend_on_the_seed():
    batches = AlignedBatches(small(), TrainConfig(batch_size=4, epochs=2))
    assert batches.steps == 4
    first = batches.at(1).targets
    batches.at(3)
    assert torch.equal(batches.at(1).targets, first)
    assert not torch.equal(AlignedBatches(small(), TrainConfig(batch_size=4, seed=1)).at(1).targets, first)


def test_the_content_names_an_alignment():
    assert small().digest() == small().digest() != small(queries=4).digest()


def test_the_loss_without_a_teachers_vectors_is_refused():
    with pytest.raises(TrainingError, match="needs a teacher's vectors"):
        batches_of(synthetic.training_data(), ALIGN)


@pytest.mark.parametrize("encoder", ["mean", "gru"])
def test_towers_learn_a_teacher_that_knows_the_topics(tmp_path, encoder):
    data = with_topics(synthetic.training_data())
    towers = synthetic.towers(synthetic.TOWERS.replace(encoder=encoder))
    report = train_towers(towers, data, ALIGN, work=tmp_path, tracker=Silent())
    assert report.untrained_measure < 0.3
    assert report.best_measure > 0.7


class Silent:
    def log(self, step, values):
        pass

    def close(self):
        pass


def with_topics(data):
    """A teacher that gives each topic an axis of its own."""
    import dataclasses

    def taught(rows):
        texts = [rows[i] for i in range(len(rows))]
        return texts, np.eye(16, dtype=np.float32)[[int(text[0]) // 8 for text in texts]]

    parts = [(*taught(data.queries), 0.5, True), (*taught(data.documents), 0.5, False)]
    return dataclasses.replace(data, alignment=Alignment.of(parts))
