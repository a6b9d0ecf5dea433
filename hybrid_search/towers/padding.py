"""Token id lists of different lengths as rectangles, with little padding. Layer 2, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["batches_by_length", "pad_ids"]


def pad_ids(id_lists: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Put n id lists into one (n, t) int64 array, padded with 0 on the right; t is the longest length, at least 1."""
    longest = max((len(ids) for ids in id_lists), default=0)
    padded = np.zeros((len(id_lists), max(longest, 1)), dtype=np.int64)
    for row, ids in zip(padded, id_lists, strict=True):
        row[: len(ids)] = ids
    return padded


def batches_by_length(lengths: Sequence[int], max_padded_tokens: int) -> Iterator[NDArray[np.intp]]:
    """Group items of like length, so that each group's rectangle holds at most ``max_padded_tokens`` tokens.

    :param lengths: n token counts.
    :return: index arrays, longest items first; together they hold each of 0..n-1 once. An item that alone is above the
        budget is a group of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, max_padded_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
