"""Checking vectors that come from outside."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import ModelMismatch, UsageError

__all__ = ["checked_vectors"]


@overload
def checked_vectors(vectors: NDArray[np.float32], count: int, dimension: int) -> NDArray[np.float32]: ...


@overload
def checked_vectors(vectors: None, count: int, dimension: int) -> None: ...


@overload
def checked_vectors(vectors: NDArray[np.float32] | None, count: int, dimension: int) -> NDArray[np.float32] | None: ...


def checked_vectors(vectors: NDArray[np.float32] | None, count: int, dimension: int) -> NDArray[np.float32] | None:
    """Return vectors as contiguous float32, (count, dimension); None stays None.

    :raises ModelMismatch: if their length is not the index's dimension.
    :raises UsageError: if they are not ``count`` rows of floats.
    """
    if vectors is None:
        return None
    array = np.asarray(vectors)
    if array.ndim != 2 or len(array) != count:
        raise UsageError(f"the vectors have shape {array.shape}; they must be {count} rows, one for each text")
    if array.dtype.kind != "f":
        raise UsageError(f"the vectors are {array.dtype}; they must be floats (float32)")
    if array.shape[1] != dimension:
        held = f"vectors of dimension {dimension}" if dimension else "no vectors"
        raise ModelMismatch(
            f"the vectors have dimension {array.shape[1]}, the index holds {held}; "
            f"use the model that the index was built with"
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused where it matters
        return np.ascontiguousarray(array, np.float32)
