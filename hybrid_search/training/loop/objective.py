"""Computes the loss of a batch: encodes, scores, and applies the loss that the settings name.

A batch has few negatives. The queue adds the document vectors of the latest batches (a cross-batch memory, Wang et al.
2020); these are slightly outdated when they are used, and no gradient flows through them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from hybrid_search.settings.training import LossKind, TowerConfig, TrainConfig
from hybrid_search.towers.networks import losses
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.tokenizer import PAD
from hybrid_search.training.loop.batches import Batch, answers_among

__all__ = ["DocumentQueue", "Objective"]

_PARTS = 4
_SMALLEST_PART = 16


class Objective(nn.Module):
    """The loss of a run, with its temperature (a parameter if it is learnt) and its queue, if any.

    A learnt temperature is the exponential of the parameter, so that it is positive, and at least .01 (as in CLIP):
    below that, only the nearest negative would matter to InfoNCE.
    """

    def __init__(self, config: TrainConfig, towers: TowerConfig) -> None:
        super().__init__()
        self._config = config
        self._loss = LOSSES[config.loss]
        self._queue = DocumentQueue(config.queue, towers.dimension) if config.queue else None
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)), config.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        """The divisor of similarities, a scalar."""
        return self.log_temperature.exp().clamp(min=0.01)

    def forward(self, towers: TwoTower, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss (a scalar) and the document vectors (m, d), or without documents the query vectors."""
        if self.config.loss == "align":  # its queries have any length, and either side may be empty
            queries = _encode_by_length(towers.encode_queries, batch.queries)
        else:
            queries = towers.encode_queries(batch.queries)
        documents = _encode_by_length(towers.encode_documents, batch.documents)
        if self._queue is None:
            loss = self._loss(self, towers, queries, documents, batch)
        else:
            loss = self._loss(self, towers, queries, *self._queue.appended_to(documents, batch))
            self._queue.put(documents, batch)
        return loss, documents if len(documents) else queries

    def scores(self, towers: TwoTower, queries: Tensor, documents: Tensor) -> Tensor:
        """Return the similarities divided by the temperature, (b, m)."""
        return losses.similarities(queries, documents, towers.config.similarity) / self.temperature

    @property
    def config(self) -> TrainConfig:
        """The run's settings."""
        return self._config


def _encode_by_length(encode: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Encode (n, t) token ids in parts of similar length, as half of a batch of passages would be padding.

    With a bidirectional GRU and 128 passages a step takes a fifth less time (measured with one thread).
    """
    if not len(ids):
        return torch.zeros(0)
    lengths = (ids != PAD).sum(1)
    order = lengths.argsort(stable=True)
    parts = torch.tensor_split(order, max(1, min(_PARTS, len(ids) // _SMALLEST_PART)))
    vectors = torch.cat([encode(ids[part, : max(1, int(lengths[part[-1]]))]) for part in parts])
    return vectors[order.argsort()]


Loss = Callable[[Objective, TwoTower, Tensor, Tensor, Batch], Tensor]


def _info_nce(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    return losses.info_nce(objective.scores(towers, queries, documents), batch.mask)


def _triplet(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    config = objective.config
    distance = losses.distances(queries, documents, config.triplet_distance)
    return losses.triplet(
        distance, batch.mask, margin=config.margin, mining=config.triplet_mining, each=config.hard_negatives
    )


def _contrastive(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    config = objective.config
    distance = losses.distances(queries, documents, config.triplet_distance)
    return losses.contrastive(distance, batch.mask, margin=config.margin)


def _margin_mse(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    return losses.margin_mse(*_distilled(objective, towers, queries, documents, batch))


def _kl(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    return losses.kl_divergence(*_distilled(objective, towers, queries, documents, batch))


def _distilled(
    objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch
) -> tuple[Tensor, Tensor]:
    if batch.teacher is None:
        raise ValueError("a batch without teacher scores; build the training data with them")
    scores = objective.scores(towers, queries, documents)
    own = losses.own_columns(len(scores), scores.shape[1], batch.teacher.shape[1] - 1)
    return scores.gather(1, own), batch.teacher


def _align(objective: Objective, towers: TwoTower, queries: Tensor, documents: Tensor, batch: Batch) -> Tensor:
    if batch.targets is None:
        raise ValueError("a batch without a teacher's vectors; build the training data with an alignment")
    vectors = torch.cat([side for side in (queries, documents) if len(side)])
    return losses.alignment(vectors, batch.targets[:, : vectors.shape[1]])


LOSSES: Mapping[LossKind, Loss] = {
    "infonce": _info_nce,
    "triplet": _triplet,
    "contrastive": _contrastive,
    "margin_mse": _margin_mse,
    "kl": _kl,
    "align": _align,
}


_FREE = -1


class DocumentQueue(nn.Module):
    """The last ``size`` document vectors and the rows of their documents, the newest first.

    They are buffers and so part of a run's state: a resumed run uses the same negatives.
    """

    vectors: Tensor
    rows: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dimension))
        self.register_buffer("rows", torch.full((size,), _FREE))

    def appended_to(self, documents: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """Append the queue's vectors to a batch's document vectors (m, d), and extend the batch's mask accordingly.

        The mask excludes answers of the query and slots that are not filled yet.
        """
        if batch.answers is None:
            raise ValueError("a batch without its queries' answers; a queue needs them")
        answering = torch.from_numpy(answers_among(batch.answers, self.rows.numpy(force=True)))
        known = answering.to(self.rows.device) | (self.rows == _FREE)  # (b, size)
        return torch.cat([documents, self.vectors]), replace(batch, mask=torch.cat([batch.mask, known], dim=1))

    def put(self, documents: Tensor, batch: Batch) -> None:
        """Add a batch's vectors and drop the oldest."""
        if batch.rows is None:
            raise ValueError("a batch without its documents' rows; a queue needs them")
        size = len(self.rows)
        self.vectors = torch.cat([documents.detach(), self.vectors])[:size]
        self.rows = torch.cat([batch.rows, self.rows])[:size]
