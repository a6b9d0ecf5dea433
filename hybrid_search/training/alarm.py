"""The collapse alarm: stops a run whose towers give every text the same vector. Layer 3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_search.config import Similarity
from hybrid_search.errors import CollapsedTowers

__all__ = ["CollapseAlarm", "spread"]


def spread(vectors: Tensor) -> float:
    """Return the share of the vectors' mean square that varies between them, 0..1.

    For unit vectors that is one minus their mean cosine.

    :param vectors: (n, d); zero rows (texts without a known token) are left out. All rows zero give 0.
    """
    vectors = vectors[vectors.abs().sum(1) > 0].double()
    if not len(vectors):
        return 0.0
    return float(1 - vectors.mean(0).square().sum() / vectors.square().sum(1).mean())


@dataclass(slots=True)
class CollapseAlarm:
    """Watches the document vectors of every batch.

    Towers often start nearly collapsed (a GRU with small weights does) and leave that state in their first steps, so
    a narrow spread counts only when it has lasted for ``lasting`` steps on end.

    :ivar floor: the spread that counts as collapsed. .02 is a mean cosine of .98; L2 vectors may sit far from the
        origin and still rank, so they are allowed a smaller one.
    """

    similarity: Similarity
    lasting: int = 100
    narrow_steps: int = 0

    @property
    def floor(self) -> float:
        """The spread below which vectors count as all alike."""
        return 1e-4 if self.similarity == "l2" else 0.02

    def observe(self, step: int, vectors: Tensor) -> float:
        """Look at one batch's document vectors and return their spread.

        :raises CollapsedTowers: if they have been alike for too long.
        """
        with torch.no_grad():
            width = spread(vectors)
        self.narrow_steps = self.narrow_steps + 1 if width < self.floor else 0
        if self.narrow_steps >= self.lasting:
            raise CollapsedTowers(
                f"step {step}: all documents have (nearly) the same vector: their spread has been below "
                f"{self.floor:g} for {self.narrow_steps} steps and is {width:.2g} (a mean cosine of {1 - width:.4f}); "
                "train with --loss infonce, a lower --learning-rate or --residual, or look for a data set whose "
                "texts are all alike"
            )
        return width
