"""Training data for the loss ``align``: texts, each with the teacher's vector that its tower should return."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hybrid_search.errors import TrainingError
from hybrid_search.training.data.rows import Int32, Rows

__all__ = ["Alignment", "Kind", "principal_axes", "unit_rows"]

_FITTED = 50_000

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of text: the number of texts, their share of a batch, and the tower that encodes them."""

    texts: int
    share: float
    is_query: bool


@dataclass(frozen=True, slots=True)
class Alignment:
    """Texts with their targets, by kind; kinds that the query tower encodes come first.

    :ivar texts: tokens of each text.
    :ivar targets: (n, d) float16 rows of unit length, in the towers' dimension.
    """

    texts: Rows
    targets: NDArray[np.float16]
    kinds: tuple[Kind, ...]

    def __post_init__(self) -> None:
        if not len(self.texts):
            raise TrainingError("the teacher has a vector for none of the texts; check that its file was made of them")

    @classmethod
    def of(cls, parts: Sequence[tuple[Sequence[Int32], Float32, float, bool]]) -> Alignment:
        """Combine kinds of texts, each as (tokens, targets, share of a batch, whether they are queries).

        Texts without tokens are left out.
        """
        rows: list[Int32] = []
        targets: list[Float32] = []
        kinds = []
        for tokens, vectors, share, is_query in parts:
            kept = [row for row, ids in enumerate(tokens) if len(ids)]
            rows += [tokens[row] for row in kept]
            targets.append(vectors[kept])
            kinds.append(Kind(len(kept), share, is_query))
        return cls(Rows.of(rows), np.concatenate(targets).astype(np.float16), tuple(kinds))

    @property
    def queries(self) -> int:
        """Number of texts, at the beginning, that the query tower encodes."""
        return sum(kind.texts for kind in self.kinds if kind.is_query)

    def digest(self) -> str:
        """Return a hash of the content."""
        sha = hashlib.sha256(self.texts.values.tobytes() + self.texts.offsets.tobytes())
        sha.update(self.targets.tobytes() + repr(self.kinds).encode())
        return sha.hexdigest()

    def chosen(self, rows: NDArray[np.int64]) -> tuple[list[Int32], list[Int32], torch.Tensor]:
        """Return the tokens of the queries among ``rows``, those of the documents, and the targets in this order."""
        queries, documents = rows[rows < self.queries], rows[rows >= self.queries]
        targets = self.targets[np.concatenate([queries, documents])].astype(np.float32)
        return self.texts.chosen(queries), self.texts.chosen(documents), torch.from_numpy(targets)


def principal_axes(vectors: Float32, dimension: int) -> Float32:
    """Return the principal axes (D, dimension) of vectors (n, D), computed without centring.

    Projection on them preserves inner products, and so cosines, as well as ``dimension`` components can. Vectors with
    fewer components are padded with zeros.
    """
    rows = vectors[:: max(1, len(vectors) // _FITTED)].astype(np.float64)
    _, axes = np.linalg.eigh(rows.T @ rows)
    kept = axes[:, ::-1][:, :dimension].astype(np.float32)
    # The sign of an axis is arbitrary; fix it, so that equal vectors give equal axes.
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    return np.pad(kept, ((0, 0), (0, max(0, dimension - kept.shape[1]))))


def unit_rows(vectors: Float32) -> Float32:
    """Scale rows (n, d) to length 1; zero rows stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
