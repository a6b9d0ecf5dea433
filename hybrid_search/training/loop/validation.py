"""The measure that early stopping follows: exact ranking over a small corpus; and the collapse alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ir_measures
import torch
from ir_measures import Qrel, ScoredDoc, nDCG
from torch import Tensor

from hybrid_search.errors import CollapsedTowers
from hybrid_search.settings.index import Similarity
from hybrid_search.towers.losses import similarities
from hybrid_search.towers.two_tower import TwoTower
from hybrid_search.training.data.arrays import ValidationData
from hybrid_search.training.data.rows import Rows

__all__ = ["MEASURE", "CollapseAlarm", "spread", "validate"]


MEASURE = "nDCG@10"
_K = 10
_BATCH = 128


def validate(towers: TwoTower, data: ValidationData, device: torch.device | None = None) -> float:
    """Encode all of the validation corpus, rank it for every validation query and return the mean nDCG@10, 0..1.

    The towers are put in evaluation mode and afterwards back into the mode they were in.

    :param device: where the towers are, the CPU by default.
    """
    was_training = towers.training
    towers.eval()
    try:
        with torch.inference_mode():
            documents = _encode(towers.encode_documents, data.documents, device)
            queries = _encode(towers.encode_queries, data.queries, device)
            run = _rank(queries, documents, towers.config.similarity)
    finally:
        towers.train(was_training)
    judged = [Qrel(str(q), str(d), 1) for q in range(len(data.queries)) for d in data.relevant[q].tolist()]
    return float(ir_measures.calc_aggregate([nDCG @ _K], judged, run)[nDCG @ _K])


def _rank(queries: Tensor, documents: Tensor, similarity: Similarity) -> list[ScoredDoc]:
    scores, rows = similarities(queries, documents, similarity).topk(min(_K, len(documents)), dim=1)
    return [
        ScoredDoc(str(query), str(row), score)
        for query, (best, ids) in enumerate(zip(scores.tolist(), rows.tolist(), strict=True))
        for score, row in zip(best, ids, strict=True)
    ]


def _encode(encode: Callable[[Tensor], Tensor], rows: Rows, device: torch.device | None) -> Tensor:
    """Encode rows in batches of alike length, so that little is padding; the result is in the rows' order."""
    order = torch.from_numpy(rows.lengths()).argsort(stable=True)
    parts = torch.split(order, _BATCH)
    encoded = torch.cat([encode(rows.padded(part.tolist()).to(device)) for part in parts])
    return encoded[order.argsort().to(device)]


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
                "train with training.loss=infonce, a lower training.learning_rate or towers.residual=yes, or look for "
                "a data set whose texts are all alike"
            )
        return width
