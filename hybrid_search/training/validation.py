"""The retrieval measure that early stopping follows: exact ranking over a whole small corpus. Layer 3."""

from __future__ import annotations

from collections.abc import Callable

import ir_measures
import torch
from ir_measures import Qrel, ScoredDoc, nDCG
from torch import Tensor

from hybrid_search.config import Similarity
from hybrid_search.towers.losses import similarities
from hybrid_search.towers.two_tower import TwoTower
from hybrid_search.training.data import ValidationData
from hybrid_search.training.rows import Rows

__all__ = ["MEASURE", "validate"]

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
