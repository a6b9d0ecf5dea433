"""What towers learn from a teacher's vectors: texts, and for each the vector that its tower is to give. Layer 3."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hybrid_search.errors import TrainingError
from hybrid_search.training.rows import Int32, Rows

__all__ = ["Alignment", "principal_axes", "unit_rows"]

_FITTED = 50_000

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Texts with their targets; texts of queries come first.

    :ivar texts: tokens of each text.
    :ivar targets: (n, d) float16 unit rows in the towers' own dimension.
    :ivar queries: how many of the texts, from the first on, the query tower encodes; the document tower has the rest.
    """

    texts: Rows
    targets: NDArray[np.float16]
    queries: int

    def __post_init__(self) -> None:
        if not len(self.texts):
            raise TrainingError("the teacher has a vector for none of the texts; check that its file was made of them")

    @classmethod
    def of(cls, queries: tuple[Sequence[Int32], Float32], documents: tuple[Sequence[Int32], Float32]) -> Alignment:
        """Join the tokens and targets of queries and documents; a text without tokens is left out."""
        rows: list[Int32] = []
        targets: list[Float32] = []
        sizes = []
        for tokens, vectors in (queries, documents):
            kept = [row for row, ids in enumerate(tokens) if len(ids)]
            rows += [tokens[row] for row in kept]
            targets.append(vectors[kept])
            sizes.append(len(kept))
        return cls(Rows.of(rows), np.concatenate(targets).astype(np.float16), sizes[0])

    def digest(self) -> str:
        """Name the content."""
        sha = hashlib.sha256(self.texts.values.tobytes() + self.texts.offsets.tobytes())
        sha.update(self.targets.tobytes() + str(self.queries).encode())
        return sha.hexdigest()

    def chosen(self, rows: NDArray[np.int64]) -> tuple[list[Int32], list[Int32], torch.Tensor]:
        """Return the tokens of the queries among ``rows``, of the documents, and the targets in that order."""
        queries, documents = rows[rows < self.queries], rows[rows >= self.queries]
        targets = self.targets[np.concatenate([queries, documents])].astype(np.float32)
        return self.texts.chosen(queries), self.texts.chosen(documents), torch.from_numpy(targets)


def principal_axes(vectors: Float32, dimension: int) -> Float32:
    """Return the axes (D, dimension) along which vectors (n, D) are longest: principal components without centring.

    Inner products, and so cosines, survive the projection as far as ``dimension`` numbers can hold them. A teacher that
    has fewer numbers is filled up with zeros.
    """
    rows = vectors[:: max(1, len(vectors) // _FITTED)].astype(np.float64)
    _, axes = np.linalg.eigh(rows.T @ rows)
    kept = axes[:, ::-1][:, :dimension].astype(np.float32)
    # The sign of an axis is the library's whim; fix it, so that equal vectors give equal axes.
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    return np.pad(kept, ((0, 0), (0, max(0, dimension - kept.shape[1]))))


def unit_rows(vectors: Float32) -> Float32:
    """Scale rows (n, d) to length 1; zero rows stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
