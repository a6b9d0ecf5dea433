"""Checking what a search is asked."""

from __future__ import annotations

import numpy as np

from hybrid_search.engines.documents import checked_vectors
from hybrid_search.errors import UsageError
from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import Fusion

__all__ = ["check_k", "check_offset", "checked_queries"]


def check_k(k: int) -> None:
    """Check how many hits are wanted.

    :raises UsageError: if that is less than one.
    """
    if k < 1:
        raise UsageError(f"k is {k}; it must be at least 1")


def check_offset(offset: int, fusion: Fusion) -> None:
    """Check where a page of fused hits begins.

    :raises UsageError: if that is behind what two windows can hold.
    """
    if not 0 <= offset < 2 * fusion.window:
        raise UsageError(
            f"offset is {offset}; it must be 0 to {2 * fusion.window - 1}, as two legs of {fusion.window} hits hold "
            f"no more; raise the fusion's window to page further"
        )


def checked_queries(vectors: Vectors, count: int, dimension: int) -> Vectors:
    """Return query vectors as contiguous float32, (count, dimension).

    :raises ModelMismatch: if their length is not the index's dimension.
    :raises UsageError: if they are not ``count`` rows of finite floats.
    """
    checked = checked_vectors(vectors, count, dimension)
    if not np.isfinite(checked).all():
        raise UsageError("a query vector has a number that is not finite; encode the query again")
    return checked
