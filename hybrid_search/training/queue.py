"""Documents of earlier batches as further negatives: a cross-batch memory (Wang et al. 2020). Layer 3.

A batch has few negatives. The vectors of the last batches' documents are there already; they are a little out of date
by the time they are used, and no gradient goes through them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from hybrid_search.training.batches import Batch, answers_among

__all__ = ["DocumentQueue"]

_FREE = -1


class DocumentQueue(nn.Module):
    """The last ``size`` document vectors and the rows of their documents, the newest first.

    Buffers, so that they are part of a run's state and a resumed run meets the same negatives.
    """

    vectors: Tensor
    rows: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dimension))
        self.register_buffer("rows", torch.full((size,), _FREE))

    def appended_to(self, documents: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """Put the kept vectors behind a batch's own (m, d), and behind its mask which of them a query may not meet.

        Masked are a query's answers, and places that nothing has been put into yet.
        """
        if batch.answers is None:
            raise ValueError("a batch without its queries' answers; a queue needs them")
        answering = torch.from_numpy(answers_among(batch.answers, self.rows.numpy(force=True)))
        known = answering.to(self.rows.device) | (self.rows == _FREE)  # (b, size)
        return torch.cat([documents, self.vectors]), replace(batch, mask=torch.cat([batch.mask, known], dim=1))

    def put(self, documents: Tensor, batch: Batch) -> None:
        """Keep a batch's vectors, in the place of the oldest."""
        if batch.rows is None:
            raise ValueError("a batch without its documents' rows; a queue needs them")
        size = len(self.rows)
        self.vectors = torch.cat([documents.detach(), self.vectors])[:size]
        self.rows = torch.cat([batch.rows, self.rows])[:size]
