"""What a round of general training reads: the texts of one lot of passages and of part of a lot of queries, in batches.

A round is a function of seed, number and lots, so an interrupted one goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_search.training.data.rows import pad
from hybrid_search.training.general.lots import EncodedLot, read_lot
from hybrid_search.training.general.start import Start
from hybrid_search.training.general.texts import KINDS

__all__ = ["PairOfBatches", "Round", "Side", "Sides", "next_lots"]

PIECES = 2_048
"""Word pieces of passages in a step, with padding: as many as keep one core's caches busy."""

_QUERY_LOT_SHARE = 0.5
_SENTENCE_SHARE = 0.5  # of the sentences, for the document tower too: documents may be short
_NOISE = 0.1

_PASSAGE, _SENTENCE = KINDS.index("passage"), KINDS.index("sentence")


@dataclass(frozen=True, slots=True)
class Side:
    """Texts for one tower, and what the teacher makes of them.

    :ivar ids: (n, t) int64, padded with 0.
    :ivar targets: (n, dimension) float32 of unit length.
    """

    ids: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class PairOfBatches:
    """What a step learns from."""

    documents: Side
    queries: Side


class Sides:
    """Texts of some lots for one tower: rows of pieces and targets."""

    def __init__(self, lots: Sequence[tuple[EncodedLot, NDArray[np.intp]]], start: Start, most: int) -> None:
        """Gather texts, each cut after ``most`` pieces, and what is to be learnt of them."""
        self._pieces = [lot.text(row, most) for lot, rows in lots for row in rows]
        self._targets = torch.from_numpy(start.targets(np.concatenate([lot.vectors[rows] for lot, rows in lots])))
        self.lengths = np.array([len(pieces) for pieces in self._pieces], dtype=np.int64)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Side:
        """Return some of the texts as a batch."""
        return Side(pad([self._pieces[row] for row in rows]), self._targets[torch.from_numpy(np.asarray(rows))])


def next_lots(files: Sequence[Path], read: dict[str, int]) -> tuple[Path, Path]:
    """Return the lot of passages and that of queries which were read least often, the earliest of equals.

    :param files: all lots that there are by now; names begin with ``b`` for passages, else ``a``.
    :param read: file name -> how often it was read.
    """
    passages = [file for file in files if file.name.startswith("b")]
    queries = [file for file in files if file.name.startswith("a")] or passages

    def least(some: Sequence[Path]) -> Path:
        return min(some, key=lambda file: (read.get(file.name, 0), file.name))

    return least(passages), least(queries)


class Round:
    """The batches of a round."""

    def __init__(self, lots: tuple[Path, Path], start: Start, seed: tuple[int, int], most: tuple[int, int]) -> None:
        draw = np.random.default_rng(seed)
        passages, queries = read_lot(lots[0]), read_lot(lots[1])
        kinds = passages.kinds
        short = (kinds == _SENTENCE) & (draw.random(len(kinds)) < _SENTENCE_SHARE)
        some = np.flatnonzero((queries.kinds != _PASSAGE) & (draw.random(len(queries.kinds)) < _QUERY_LOT_SHARE))
        self._documents = Sides([(passages, np.flatnonzero((kinds == _PASSAGE) | short))], start, most[0])
        self._queries = Sides([(passages, np.flatnonzero(kinds != _PASSAGE)), (queries, some)], start, most[1])
        self._of_documents = _batches(self._documents.lengths, PIECES, draw)
        total = int(self._queries.lengths.sum())
        self._of_queries = _batches(self._queries.lengths, max(64, 1.08 * total / len(self._of_documents)), draw)

    def __len__(self) -> int:
        return len(self._of_documents)

    def at(self, number: int) -> PairOfBatches:
        """Return what a step learns from."""
        return PairOfBatches(
            self._documents.take(self._of_documents[number]),
            self._queries.take(self._of_queries[number % len(self._of_queries)]),
        )


def _batches(lengths: NDArray[np.int64], pieces: float, draw: np.random.Generator) -> list[NDArray[np.intp]]:
    """Divide texts into batches of like lengths in mixed order; texts without pieces are left out."""
    rows = np.flatnonzero(lengths > 0)
    order = rows[np.argsort(lengths[rows] * (1 + _NOISE * draw.random(len(rows))))]
    batches, start, longest = [], 0, 0
    for place, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        if (place + 1 - start) * longest > pieces and place > start:
            batches.append(order[start:place])
            start, longest = place, int(lengths[row])
    batches.append(order[start:])
    return [batches[number] for number in draw.permutation(len(batches))]
