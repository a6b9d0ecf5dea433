"""Rectangles of token ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.towers.padding import batches_by_length, batches_of_one_width, pad_ids, width


@given(st.integers(0, 5_000))
def test_a_text_is_padded_to_a_multiple_of_four_and_not_by_much(length: int) -> None:
    wide = width(length)
    assert wide % 4 == 0
    assert wide >= max(length, 1)
    assert wide - length <= max(4, length / 8)


def test_groups_of_one_width_hold_each_item_once_within_the_budget() -> None:
    lengths = [1, 4, 5, 0, 8, 70, 71, 72, 3]
    groups = [(wide, rows.tolist()) for wide, rows in batches_of_one_width(lengths, 12)]
    assert groups == [(72, [5]), (72, [6]), (72, [7]), (8, [2]), (8, [4]), (4, [0, 1, 3]), (4, [8])]


def test_shorter_lists_are_filled_with_zero_on_the_right() -> None:
    lists = [np.array([5, 6, 7], np.int32), np.array([], np.int32), np.array([8], np.int32)]
    assert pad_ids(lists).tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]


def test_a_rectangle_is_at_least_one_token_wide() -> None:
    assert pad_ids([np.array([], np.int32)]).shape == (1, 1)


def test_items_of_like_length_share_a_batch() -> None:
    assert [batch.tolist() for batch in batches_by_length([1, 9, 2, 8], 18)] == [[1, 3], [2, 0]]


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 120))
def test_each_item_is_in_one_batch_and_batches_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(batches_by_length(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in batches)
