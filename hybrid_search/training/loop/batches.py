"""Makes batches in an order determined by the seed, with masks of documents that are no negatives."""

from __future__ import annotations

import math
import sys
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_search.errors import TrainingError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Int32, pad
from hybrid_search.training.loop.made_examples import SelfSupervision
from hybrid_search.training.negatives.sampler import NegativeSampler

__all__ = ["AlignedBatches", "Batch", "Batches", "answers_among", "batches_of", "epoch_batches"]


_STEPS = 600


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input: b examples, of which the first l come from labels; these have k hard negatives each.

    :ivar queries: (b, t) token ids.
    :ivar documents: (b + l * k, t) token ids: the positives, then the hard negatives in the order of the examples.
    :ivar mask: (b, b + l * k), True where a document answers the query and so is no negative of it.
    :ivar teacher: (l, 1 + k) the teacher's scores of the positive and the hard negatives; None if the loss uses none.
    :ivar targets: the teacher's vectors of the queries, then of the documents; None except for loss ``align``.
    :ivar rows: (b + l * k,) the documents' rows in the data; None without a queue.
    :ivar answers: the rows of the documents that answer each query; None without a queue.
    """

    queries: Tensor
    documents: Tensor
    mask: Tensor
    teacher: Tensor | None = None
    targets: Tensor | None = None
    rows: Tensor | None = None
    answers: Sequence[NDArray[np.integer]] | None = None

    def to(self, device: torch.device) -> Batch:
        """Return a copy of the batch with its tensors on a device."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **(values | moved))


class Batches:
    """Makes the batch of any step, independently of the steps before."""

    def __init__(self, data: TrainingData, config: TrainConfig) -> None:
        self._data = data
        self._config = config
        self._unlabelled = SelfSupervision(data.documents, config.seed)
        # A teacher has no scores for queries that are made from documents.
        made = 0 if data.teacher else round(config.self_supervised * config.batch_size)
        if not len(data.pairs):
            self._unlabelled.check()
        self._labels, self.steps = _labels_and_steps(len(data.pairs), len(data.documents), made, config)
        self._made = made + (config.batch_size - self._labels if made or not self._labels else 0)
        self.per_epoch = max(1, len(data.pairs) // max(1, self._labels))
        self._sampler = NegativeSampler(data, config, self.steps)
        self._epoch = -1
        self._order: list[NDArray[np.int64]] = []

    def at(self, step: int) -> Batch:
        """Make the batch of a step, 0-based."""
        queries, positives = self._labelled(step)
        negatives = self._sampler.draw(queries, step)
        rows, made_queries, made_documents = self._unlabelled.draw(self._made, step)
        documents = self._data.documents
        tokens = [*documents.chosen(positives), *made_documents, *documents.chosen(negatives.ravel())]
        answers = [*self._data.positives.chosen(queries), *rows.reshape(-1, 1)]
        document_rows = np.concatenate([positives, rows, negatives.ravel()])
        return Batch(
            pad([*self._data.queries.chosen(queries), *made_queries]),
            pad(tokens),
            torch.from_numpy(answers_among(answers, document_rows)),
            self._teacher(queries, np.column_stack([positives, negatives])),
            rows=torch.from_numpy(document_rows) if self._config.queue else None,
            answers=answers if self._config.queue else None,
        )

    def _labelled(self, step: int) -> Int32:
        """Return the query rows and the positives' rows of a step: (2, b)."""
        if not len(self._data.pairs):
            return np.empty((2, 0), dtype=np.int32)
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = epoch_batches(self._data.pairs, self._labels, self._config.seed, epoch)
            self._epoch = epoch
        return self._data.pairs[self._order[number]].T

    def _teacher(self, queries: Int32, candidates: NDArray[np.int64]) -> Tensor | None:
        if not self._data.teacher:
            return None
        scores = [[self._data.teacher[int(q), int(d)] for d in row] for q, row in zip(queries, candidates, strict=True)]
        return torch.tensor(scores, dtype=torch.float32)


def _labels_and_steps(pairs: int, documents: int, made: int, config: TrainConfig) -> tuple[int, int]:
    """Return the number of labelled examples in a batch with ``made`` examples from documents, and the run's steps.

    Normally these are the batch size and the steps of ``epochs`` over the labels. With few labels, that would be fewer
    steps than documents alone get; then a batch has fewer labelled examples and more from documents, so that each label
    is used about as often as before, over as many steps as without labels.
    """
    size, most = config.batch_size, config.max_steps or sys.maxsize
    of_documents = min(math.ceil(config.epochs * documents / max(1, made + size)) or _STEPS, most)
    if not pairs:
        return 0, of_documents
    of_labels = min(config.epochs * max(1, pairs // size) or _STEPS, most)
    if not made or of_labels >= of_documents:
        return size, of_labels
    return max(1, config.epochs * pairs // of_documents), of_documents


def answers_among(answers: Sequence[NDArray[np.integer]], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask (b, m): which of m documents, given by their rows, answer which of b queries."""
    columns: dict[int, list[int]] = defaultdict(list)
    for column, document in enumerate(documents.tolist()):
        columns[document].append(column)
    mask = np.zeros((len(answers), len(documents)), dtype=np.bool_)
    for line, known in zip(mask, answers, strict=True):
        for document in known.tolist():
            line[columns.get(document, [])] = True
    return mask


def epoch_batches(pairs: NDArray[np.int32], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Cut the pairs, shuffled by seed and epoch, into full batches of pair numbers.

    A query or positive occurs at most once in a batch, as long as there are enough others to fill it. Pairs that don't
    fill a batch are left to other epochs; fewer pairs than a batch make one smaller batch.
    """
    order = deque(np.random.default_rng([seed, 0, epoch]).permutation(len(pairs)).tolist())
    size = min(batch_size, len(pairs))
    return [np.array(_fill(order, pairs, size)) for _ in range(len(pairs) // size)]


def _fill(order: deque[int], pairs: NDArray[np.int32], size: int) -> list[int]:
    batch: list[int] = []
    queries: set[int] = set()
    documents: set[int] = set()
    deferred: list[int] = []
    while order and len(batch) < size:
        pair = order.popleft()
        query, document = pairs[pair].tolist()
        if query in queries or document in documents:
            deferred.append(pair)
            continue
        batch.append(pair)
        queries.add(query)
        documents.add(document)
    clashing = size - len(batch)
    order.extendleft(reversed(deferred[clashing:]))
    return batch + deferred[:clashing]


_EPOCHS = 6


class AlignedBatches:
    """Makes the batch of any step: of each kind of text its share, drawn anew by seed and step.

    The shares matter because queries are few and short: left to their number they are a fifteenth of a batch.
    """

    def __init__(self, alignment: Alignment, config: TrainConfig) -> None:
        self._alignment = alignment
        self._seed = config.seed
        steps = (config.epochs or _EPOCHS) * max(1, len(alignment.texts) // config.batch_size)
        self.steps = min(steps, config.max_steps or steps)
        self._starts = np.cumsum([0, *(kind.texts for kind in alignment.kinds)])
        self._drawn = _apportioned([kind.share if kind.texts else 0 for kind in alignment.kinds], config.batch_size)

    def at(self, step: int) -> Batch:
        """Make the batch of a step, 0-based."""
        generator = np.random.default_rng([self._seed, 0, step])
        rows = np.concatenate([
            generator.integers(first, last, count)
            for first, last, count in zip(self._starts, self._starts[1:], self._drawn, strict=False)
        ])  # fmt: skip
        queries, documents, targets = self._alignment.chosen(rows)
        mask = torch.zeros(len(queries), len(documents), dtype=torch.bool)
        return Batch(pad(queries), pad(documents), mask, targets=targets)


def _apportioned(shares: list[float], size: int) -> NDArray[np.int64]:
    """Divide a batch by shares; the remainder of rounding goes to the largest share."""
    exact = np.array(shares) / sum(shares) * size
    counts = np.floor(exact).astype(np.int64)
    counts[exact.argmax()] += size - counts.sum()
    return counts


def batches_of(data: TrainingData, config: TrainConfig) -> Batches | AlignedBatches:
    """Return what makes a run's batches.

    :raises TrainingError: if the loss needs a teacher's vectors and the data has none.
    """
    if config.loss != "align":
        return Batches(data, config)
    if data.alignment is None:
        raise TrainingError("the loss 'align' needs a teacher's vectors; name the teacher")
    return AlignedBatches(data.alignment, config)
