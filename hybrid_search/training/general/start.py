"""Where training begins: what the teacher makes of each word piece, and the axes on which the towers' vectors lie.

A piece starts as the mean of the teacher's states at it. Rare pieces are drawn to a prediction from what the teacher
knows without a text: its embedding of the piece, and the vector of the piece alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from hybrid_search.protocols import Progress
from hybrid_search.storage import atomic_write_bytes, disk_errors
from hybrid_search.towers.padding import batches_by_length
from hybrid_search.towers.tokenizer import PAD, UNK, TextTokenizer
from hybrid_search.training.data.alignment import principal_axes, unit_rows
from hybrid_search.training.general.lots import EncodedLot
from hybrid_search.training.teacher.model import TransformerTeacher

__all__ = ["Start", "joint_axes", "learn_start"]

_PIECES = 250_000  # whose states are read
_AT_ONCE = 4_096
_DRAWN = 10  # a piece seen so often is half its own mean, half the prediction
_SURE = 20  # pieces seen more often count no more when the prediction is fitted
_RIDGE = 1e-3

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Start:
    """What training begins with, made once and kept.

    :ivar table: (V, D) float32, a vector for each piece.
    :ivar counts: (V,) int64, how often each piece occurs in passages.
    :ivar axes: (T, dimension) float32, the principal axes of the teacher's vectors; the towers' vectors lie on them.
    :ivar centre: (T,) float32, what is taken off the teacher's vectors before; zero for one teacher.
    """

    table: Float32
    counts: NDArray[np.int64]
    axes: Float32
    centre: Float32

    def targets(self, vectors: NDArray[Any]) -> Float32:
        """Return what the towers are to learn: (n, T) vectors of the teacher -> (n, dimension) of unit length."""
        own: Float32 = vectors.astype(np.float32) - self.centre
        return unit_rows(own @ self.axes)

    def write(self, path: Path) -> None:
        """Write all of it to one file."""
        parts: dict[str, NDArray[Any]] = {
            "table": self.table,
            "counts": self.counts,
            "axes": self.axes,
            "centre": self.centre,
        }
        atomic_write_bytes(path, save(parts))

    @classmethod
    def read(cls, path: Path) -> Start:
        """Read what :meth:`write` wrote."""
        with disk_errors(f"reading {path}"):
            parts = load_file(path)
        axes = parts["axes"]
        return cls(parts["table"], parts["counts"], axes, parts.get("centre", np.zeros(len(axes), np.float32)))


def learn_start(
    lots: Sequence[EncodedLot],
    tokenizer: TextTokenizer,
    embeddings: Float32,
    teacher: TransformerTeacher,
    *,
    widths: Sequence[int],
    dimension: int,
    progress: Progress,
) -> Start:
    """Run the teacher over some texts and over every piece alone.

    :param embeddings: (V, d) the teacher's own embeddings of the pieces.
    :param teacher: the first one, if the lots' vectors are of several.
    :param widths: of each teacher's part of the lots' vectors.
    """
    size = tokenizer.vocabulary_size
    names = tokenizer.tokens()
    texts = [lot.text(row) for lot in lots for row in range(len(lot.kinds))]
    counts = np.bincount(np.concatenate([lot.pieces for lot in lots]), minlength=size).astype(np.int64)
    places = np.cumsum([len(text) for text in texts])
    texts = texts[: 1 + int(np.searchsorted(places, _PIECES))]
    sums, seen = _summed_states(texts, names, teacher, progress)
    alone = np.zeros((size, sums.shape[1]), dtype=np.float32)
    with progress("the teacher's vector of each word piece", size) as task:
        for first in range(0, size, _AT_ONCE):
            pieces = [np.array([piece]) for piece in range(first, min(size, first + _AT_ONCE))]
            states = teacher.states([[names[piece[0]]] for piece in pieces])
            alone[first : first + len(pieces)] = np.stack([state[0] for state in states])
            task.advance(len(pieces))
    table = _drawn(sums, seen, np.concatenate([embeddings, alone], axis=1))
    vectors = np.concatenate([lot.vectors for lot in lots]).astype(np.float32)
    centre, axes = joint_axes(vectors, widths, dimension)
    return Start(table, counts, axes, centre)


def joint_axes(vectors: Float32, widths: Sequence[int], dimension: int) -> tuple[Float32, Float32]:
    """Return what to take off joined vectors (n, T), and the axes (T, dimension) of what is left: (T,), (T, dimension).

    Some teachers' vectors all point one way, so that their cosines differ little; beside another such a one would say
    nothing. So what a teacher's vectors have in common is taken off, and each one's part is scaled to the same spread.
    One teacher alone is left as it is.

    :param widths: of each teacher's part.
    """
    if len(widths) == 1:
        return np.zeros(widths[0], np.float32), principal_axes(vectors, dimension)
    centre = vectors.mean(axis=0)
    starts = np.cumsum([0, *widths[:-1]])
    spreads = np.add.reduceat(np.square(vectors - centre).mean(axis=0), starts)
    scales = np.repeat(1 / np.sqrt(spreads), widths).astype(np.float32)
    return centre, scales[:, None] * principal_axes((vectors - centre) * scales, dimension)


def _summed_states(
    texts: Sequence[NDArray[np.int32]], names: Sequence[str], teacher: TransformerTeacher, progress: Progress
) -> tuple[Float32, NDArray[np.int64]]:
    """Return (V, D) the sum of the teacher's states at each piece, and (V,) how many there were."""
    seen = np.zeros(len(names), dtype=np.int64)
    sums: Float32 | None = None
    with progress("the teacher's states of the word pieces", len(texts)) as task:
        for rows in batches_by_length([len(text) for text in texts], _AT_ONCE):
            some = [texts[row] for row in rows if len(texts[row])]
            states = teacher.states([[names[piece] for piece in text] for text in some])
            for text, state in zip(some, states, strict=True):
                kept = text[: len(state)]
                sums = np.zeros((len(names), state.shape[1]), dtype=np.float32) if sums is None else sums
                np.add.at(sums, kept, state)
                np.add.at(seen, kept, 1)
            task.advance(len(rows))
    if sums is None:
        raise ValueError("no texts to read states of")
    return sums, seen


def _drawn(sums: Float32, seen: NDArray[np.int64], known: Float32) -> Float32:
    """Draw each piece's mean state to a linear prediction from what is known of it without a text."""
    known = np.concatenate([known, np.ones((len(known), 1), dtype=np.float32)], axis=1).astype(np.float64)
    means = sums / np.maximum(seen, 1)[:, None]
    weights = np.minimum(seen, _SURE)[:, None].astype(np.float64)
    products = known.T @ (weights * known)
    products += _RIDGE * np.trace(products) / len(products) * np.eye(len(products))
    predicted = known @ np.linalg.solve(products, known.T @ (weights * means))
    table = (sums + _DRAWN * predicted) / (seen + _DRAWN)[:, None]
    table[[PAD, UNK]] = 0
    return np.asarray(table, dtype=np.float32)
