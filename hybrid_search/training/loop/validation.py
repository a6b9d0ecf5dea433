"""The measure for early stopping, from exact ranking over a small corpus; and the detection of collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ir_measures
import torch
from ir_measures import Qrel, ScoredDoc, nDCG
from torch import Tensor

from hybrid_search.errors import CollapsedTowers
from hybrid_search.settings.index import Similarity
from hybrid_search.towers.networks.losses import similarities
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.data.arrays import ValidationData
from hybrid_search.training.data.rows import Rows

__all__ = ["MEASURE", "CollapseAlarm", "measured", "spread", "validate"]


MEASURE = "nDCG@10"
_K = 10
_BATCH = 128


def validate(towers: TwoTower, data: ValidationData, device: torch.device | None = None) -> float:
    """Encode the validation corpus, rank it for every validation query and return the mean nDCG@10, 0..1.

    The towers are switched to evaluation mode, and back to their previous mode afterwards.

    :param device: of the towers, by default the CPU.
    """
    was_training = towers.training
    towers.eval()
    try:
        with torch.inference_mode():
            documents = _encode(towers.encode_documents, data.documents, device)
            queries = _encode(towers.encode_queries, data.queries, device)
    finally:
        towers.train(was_training)
    return measured(queries, documents, data, towers.config.similarity)


def measured(queries: Tensor, documents: Tensor, data: ValidationData, similarity: Similarity) -> float:
    """Rank by vectors of the data's queries and documents; return the mean nDCG@10, 0..1."""
    run = _rank(queries, documents, similarity)
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
    """Encode rows in batches of similar length, to limit padding; results are in the rows' order."""
    order = torch.from_numpy(rows.lengths()).argsort(stable=True)
    parts = torch.split(order, _BATCH)
    encoded = torch.cat([encode(rows.padded(part.tolist()).to(device)) for part in parts])
    return encoded[order.argsort().to(device)]


def spread(vectors: Tensor) -> float:
    """Return the vectors' variance as a share of their mean square, 0..1.

    For unit vectors that is one minus their mean cosine.

    :param vectors: (n, d); zero rows (texts without a known token) are left out. All rows zero give 0.
    """
    vectors = vectors[vectors.abs().sum(1) > 0].double()
    if not len(vectors):
        return 0.0
    return float(1 - vectors.mean(0).square().sum() / vectors.square().sum(1).mean())


@dataclass(slots=True)
class CollapseAlarm:
    """Detects collapsed towers by the document vectors of every batch.

    Towers often start nearly collapsed (such as a GRU with small weights) and recover in their first steps, so a low
    spread must last for ``lasting`` steps in a row.

    :ivar floor: the spread that counts as collapsed. .02 is a mean cosine of .98; L2 vectors may be far from the origin
        and still rank well, so theirs is smaller.
    """

    similarity: Similarity
    lasting: int = 100
    narrow_steps: int = 0

    @property
    def floor(self) -> float:
        """The spread below which vectors count as collapsed."""
        return 1e-4 if self.similarity == "l2" else 0.02

    def observe(self, step: int, vectors: Tensor) -> float:
        """Check a batch's document vectors (n, d) and return their spread.

        :raises CollapsedTowers: if the spread was too low for too many steps.
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
