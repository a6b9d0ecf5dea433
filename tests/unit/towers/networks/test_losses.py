import math

import pytest
import torch

from hybrid_search.towers.networks import losses

NOTHING_BARRED = torch.zeros(2, 3, dtype=torch.bool)


def gradient(loss, matrix):
    matrix = matrix.clone().requires_grad_()
    loss(matrix).backward()
    return matrix.grad


def test_similarities_are_inner_products_or_negative_squared_distances():
    queries = torch.tensor([[1.0, 0.0]])
    documents = torch.tensor([[0.6, 0.8], [0.0, 2.0]])
    assert losses.similarities(queries, documents, "dot").tolist() == [[pytest.approx(0.6), 0.0]]
    assert losses.similarities(queries, documents, "l2").tolist() == [[pytest.approx(-0.8), -5.0]]


def test_distances_are_small_for_what_is_near():
    queries = torch.tensor([[2.0, 0.0]])
    documents = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert losses.distances(queries, documents, "cosine").tolist() == [[0.0, 1.0, 2.0]]
    assert losses.distances(queries, documents, "dot").tolist() == [[-6.0, 0.0, 2.0]]
    assert losses.distances(queries, documents, "l2").tolist() == [[1.0, pytest.approx(math.sqrt(5)), 3.0]]


def test_the_l2_distance_of_equal_vectors_has_a_finite_gradient():
    queries = torch.ones(1, 2, requires_grad=True)
    losses.distances(queries, torch.ones(1, 2), "l2").sum().backward()
    assert torch.isfinite(queries.grad).all()


def test_own_columns_are_the_positive_and_the_hard_negatives_of_each_example():
    assert losses.own_columns(2, 6, 2).tolist() == [[0, 2, 3], [1, 4, 5]]
    # Of three examples only the first two have hard negatives, one each.
    assert losses.own_columns(3, 5, 1).tolist() == [[0, 3], [1, 4]]


def test_info_nce_is_the_log_of_the_positives_share():
    # Query 0: e^2 against 1 and 1. Query 1: e^1 against e^0 and e^1.
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    expected = (-math.log(math.e**2 / (math.e**2 + 2)) - math.log(math.e / (2 * math.e + 1))) / 2
    assert losses.info_nce(scores, NOTHING_BARRED).item() == pytest.approx(expected)


def test_info_nce_leaves_out_masked_candidates_but_never_the_positive():
    scores = torch.tensor([[2.0, 0.0, 5.0], [0.0, 1.0, 1.0]])
    mask = torch.tensor([[True, False, True], [False, True, True]])
    expected = (-math.log(math.e**2 / (math.e**2 + 1)) - math.log(math.e / (math.e + 1))) / 2
    assert losses.info_nce(scores, mask).item() == pytest.approx(expected)


def test_info_nce_pulls_positives_up_and_pushes_negatives_down():
    slope = gradient(lambda s: losses.info_nce(s, NOTHING_BARRED), torch.zeros(2, 3))
    assert (slope.diagonal() < 0).all()
    assert (slope[:, 2] > 0).all()


DISTANCES = torch.tensor([[0.5, 0.6, 0.4], [0.9, 0.2, 1.5]])


def test_batch_hard_triplets_take_the_nearest_candidate():
    # Query 0: .5 - .4 + .2 = .3; query 1: .2 - .9 + .2 < 0.
    loss = losses.triplet(DISTANCES, NOTHING_BARRED, margin=0.2, mining="batch_hard")
    assert loss.item() == pytest.approx(0.3 / 2)


def test_semi_hard_triplets_take_the_nearest_candidate_that_is_farther_than_the_positive():
    # Query 0: .5 - .6 + .2 = .1; query 1: .2 - .9 + .2 < 0.
    loss = losses.triplet(DISTANCES, NOTHING_BARRED, margin=0.2, mining="semi_hard")
    assert loss.item() == pytest.approx(0.1 / 2)


def test_semi_hard_triplets_without_a_farther_candidate_take_the_farthest():
    distances = torch.tensor([[0.9, 0.6, 0.4], [0.9, 0.2, 1.5]])
    loss = losses.triplet(distances, NOTHING_BARRED, margin=0.2, mining="semi_hard")
    assert loss.item() == pytest.approx((0.9 - 0.6 + 0.2) / 2)


def test_given_triplets_take_each_querys_own_hard_negatives():
    distances = torch.tensor([[0.5, 0.0, 0.4, 0.0], [0.0, 0.2, 0.0, 0.3]])
    mask = torch.zeros(2, 4, dtype=torch.bool)
    loss = losses.triplet(distances, mask, margin=0.2, mining="given")
    assert loss.item() == pytest.approx((0.3 + 0.1) / 2)


@pytest.mark.parametrize("mining", ["given", "batch_hard", "semi_hard"])
def test_triplets_never_take_a_masked_candidate(mining):
    distances = torch.tensor([[0.5, 0.0, 0.51, 0.52], [0.4, 0.2, 0.9, 0.9]])
    barred = torch.tensor([[False, True, True, True], [False, False, False, False]])
    slope = gradient(lambda d: losses.triplet(d, barred, margin=1.0, mining=mining), distances)
    assert slope[0].tolist() == [0, 0, 0, 0]
    assert slope[1, 1] > 0


@pytest.mark.parametrize("mining", ["given", "batch_hard", "semi_hard"])
def test_triplets_shorten_the_positives_distance_and_lengthen_the_negatives(mining):
    distances = torch.tensor([[0.5, 0.6, 0.55, 0.7], [0.6, 0.5, 0.7, 0.55]])
    mask = torch.zeros(2, 4, dtype=torch.bool)
    slope = gradient(lambda d: losses.triplet(d, mask, margin=0.5, mining=mining), distances)
    assert (slope.diagonal() > 0).all()
    assert slope[0, 2] < 0


def test_contrastive_averages_the_pull_and_the_push_of_what_is_inside_the_margin():
    distances = torch.tensor([[0.1, 0.3, 0.9], [0.4, 0.3, 0.7]])
    pull = (0.1**2 + 0.3**2) / 2
    push = (0.2**2 + 0.1**2) / 2  # .3 and .4 lie inside the margin of .5
    loss = losses.contrastive(distances, NOTHING_BARRED, margin=0.5)
    assert loss.item() == pytest.approx((pull + push) / 2)


def test_contrastive_pulls_positives_and_pushes_only_unmasked_near_negatives():
    distances = torch.tensor([[0.1, 0.3, 0.2], [0.4, 0.3, 0.7]])
    mask = torch.tensor([[False, True, False], [False, False, False]])
    slope = gradient(lambda d: losses.contrastive(d, mask, margin=0.5), distances)
    assert (slope.diagonal() > 0).all()
    assert slope[0, 1] == 0
    assert slope[0, 2] < 0
    assert slope[1, 2] == 0


def test_margin_mse_compares_margins_and_not_scores():
    scores = torch.tensor([[3.0, 1.0, 0.0]])
    teacher = torch.tensor([[10.0, 9.0, 6.0]])
    # Margins: student 2 and 3, teacher 1 and 4.
    assert losses.margin_mse(scores, teacher).item() == pytest.approx(1.0)


def test_margin_mse_widens_a_margin_that_is_too_small():
    teacher = torch.tensor([[4.0, 1.0]])
    slope = gradient(lambda s: losses.margin_mse(s, teacher), torch.tensor([[1.0, 1.0]]))
    assert slope[0, 0] < 0 < slope[0, 1]


def test_kl_divergence_is_zero_for_equal_distributions_and_hand_computed_otherwise():
    teacher = torch.tensor([[math.log(3.0), 0.0]])  # shares .75 and .25
    assert losses.kl_divergence(teacher + 5, teacher).item() == pytest.approx(0.0, abs=1e-6)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.kl_divergence(torch.zeros(1, 2), teacher).item() == pytest.approx(expected)


def test_kl_divergence_moves_the_student_towards_the_teacher():
    slope = gradient(lambda s: losses.kl_divergence(s, torch.tensor([[2.0, 0.0]])), torch.zeros(1, 2))
    assert slope[0, 0] < 0 < slope[0, 1]
