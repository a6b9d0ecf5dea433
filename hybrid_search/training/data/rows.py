"""Many short lists of integers in two arrays: tokens of texts, or lists of document rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_search.streams import in_batches

__all__ = ["Int32", "Rows", "pad"]

_PACKED_AT_ONCE = 4_096

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of different length. A million passages of 60 tokens take 240 MB instead of a million Python objects.

    :ivar values: all rows end to end.
    :ivar offsets: row i is ``values[offsets[i]:offsets[i + 1]]``; one entry more than there are rows.
    """

    values: Int32
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | Int32]) -> Rows:
        """Pack rows in the order given."""
        lengths: list[int] = []
        packed: list[Int32] = []
        # Packed as they come: an array of its own costs a row as much again as its tokens.
        for batch in in_batches(rows, _PACKED_AT_ONCE):
            parts = [np.asarray(row, dtype=np.int32) for row in batch]
            lengths += [len(part) for part in parts]
            packed.append(np.concatenate(parts))
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(np.concatenate(packed) if packed else np.empty(0, dtype=np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int32:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def lengths(self) -> NDArray[np.int64]:
        """Length of each row."""
        return np.diff(self.offsets)

    def padded(self, rows: Sequence[int] | NDArray[np.integer]) -> Tensor:
        """Gather rows for a tower; see :func:`pad`."""
        return pad(self.chosen(rows))

    def chosen(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Int32]:
        """Gather rows as they are."""
        return [self[int(row)] for row in rows]


def pad(rows: Sequence[Int32]) -> Tensor:
    """Lay rows side by side.

    :return: (n, longest) int64, zeros (PAD) on the right; at least one column, so an empty text is a row of PAD.
    """
    batch = np.zeros((len(rows), max([1, *map(len, rows)])), dtype=np.int64)
    for line, row in zip(batch, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(batch)
