import pytest
import torch

from hybrid_search.errors import CollapsedTowers
from hybrid_search.training.loop.validation import CollapseAlarm, spread


def test_spread_is_one_minus_the_mean_cosine_of_unit_vectors():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # The mean over all pairs, each with itself included: (1 + 0 + 0 + 1) / 4.
    assert spread(vectors) == pytest.approx(0.5)


def test_equal_vectors_and_no_vectors_have_no_spread():
    assert spread(torch.ones(4, 3)) == pytest.approx(0.0)
    assert spread(torch.zeros(4, 3)) == 0.0


def test_texts_without_a_vector_are_left_out():
    assert spread(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(0.5)


def test_the_alarm_goes_off_only_after_lasting_collapse():
    alarm = CollapseAlarm("cosine", lasting=3)
    alike, apart = torch.ones(4, 3), torch.eye(3)
    for step, vectors in enumerate([alike, alike, apart, alike, alike]):
        alarm.observe(step, vectors)
    with pytest.raises(CollapsedTowers, match=r"step 5: .*below 0\.02 for 3 steps.*cosine of 1\.0000"):
        alarm.observe(5, alike)


def test_l2_vectors_far_from_the_origin_are_not_taken_for_collapsed():
    generator = torch.Generator().manual_seed(0)
    vectors = 10 + torch.randn(50, 8, generator=generator)
    alarm = CollapseAlarm("l2", lasting=1)
    assert 0 < alarm.observe(0, vectors) < 0.02
