"""Puts lists of token ids with different lengths into rectangular arrays, with little padding.

In arrays of its own width, a text's vector is the same to the last bit, whatever the other rows are: the width, a
multiple of four, determines the order of summation. Otherwise equal texts would have vectors that differ by rounding,
which a fusion may stretch to its whole scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["batches_by_length", "batches_of_one_width", "pad_ids", "width"]


def width(length: int) -> int:
    """Return the padded width of a text of ``length`` tokens: a multiple of four, at most a tenth or three larger."""
    step = 4
    while length > 16 * step:
        step *= 2
    return max(-(-length // step), 1) * step


def batches_of_one_width(lengths: Sequence[int], max_padded_tokens: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group items of the same :func:`width`; each group has at most ``max_padded_tokens`` tokens with padding.

    :param lengths: n token counts.
    :return: (width, index array), widest first; together they contain each of 0..n-1 once. An item that exceeds the
        limit is a group of its own.
    """
    widths = np.array([width(length) for length in lengths], dtype=np.int64)
    for wide in np.unique(widths)[::-1].tolist():
        items = np.flatnonzero(widths == wide)
        rows = max(1, max_padded_tokens // wide)
        for start in range(0, len(items), rows):
            yield wide, items[start : start + rows]


def pad_ids(id_lists: Sequence[NDArray[Any]], least: int = 1) -> NDArray[np.int64]:
    """Put n id lists into an (n, t) int64 array, padded with 0 on the right.

    :param least: minimum of t, which is otherwise the greatest length.
    """
    longest = max((len(ids) for ids in id_lists), default=0)
    padded = np.zeros((len(id_lists), max(longest, least)), dtype=np.int64)
    for row, ids in zip(padded, id_lists, strict=True):
        row[: len(ids)] = ids
    return padded


def batches_by_length(lengths: Sequence[int], max_padded_tokens: int) -> Iterator[NDArray[np.intp]]:
    """Group items of similar length; each group has at most ``max_padded_tokens`` tokens with padding.

    :param lengths: n token counts.
    :return: index arrays, longest items first; together they contain each of 0..n-1 once. An item that exceeds the
        limit is a group of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, max_padded_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
