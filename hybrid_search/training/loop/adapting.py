"""Steps with the networks held, for a run that starts from a model.

A step of a recurrent tower is mostly its encoder, so a start has few of them. What the encoder makes of a text is
computed once here; then steps train what comes behind it: a shift that is added to each word's vector (and has its mean
over the text, as the word vectors have in a static tower), and the towers' last layers. A step takes a tenth of a
second with hundreds of queries and a thousand documents, which compete for each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from hybrid_search.errors import TrainingError
from hybrid_search.protocols import Progress, Tracker
from hybrid_search.settings.training import TrainConfig
from hybrid_search.towers.networks.gated import in_haste
from hybrid_search.towers.networks.losses import alignment
from hybrid_search.towers.networks.two_tower import Reading, Tower, TwoTower
from hybrid_search.towers.padding import batches_by_length
from hybrid_search.towers.tokenizer import UNK
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Rows
from hybrid_search.training.loop.lessons import Aligned, Lessons, lessons_of
from hybrid_search.training.loop.optimiser import EarlyStopping, clip_gradients, learning_rate_factor
from hybrid_search.training.loop.validation import MEASURE, CollapseAlarm, measured
from hybrid_search.training.loop.weights import weights_of

__all__ = ["Adapted", "adapt_towers"]

_BETAS = (0.9, 0.98)
_PIECES = 4_096  # read at once, with padding
_LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class Adapted:
    """The course of the steps; the fields of :class:`~hybrid_search.training.loop.loop.TrainReport`."""

    best_step: int
    best_measure: float
    untrained_measure: float
    curve: tuple[tuple[int, float], ...]
    steps: int
    stopped_early: bool


def adapt_towers(
    towers: TwoTower, data: TrainingData, config: TrainConfig, *, tracker: Tracker, progress: Progress
) -> Adapted:
    """Take the steps; at the end the towers have the weights that validated best.

    An interrupted run begins these steps anew, and ends with the same weights.

    :param towers: with ``adapted``.
    :raises CollapsedTowers: if all documents get the same vector.
    :raises TrainingError: if the loss is not finite, or there is nothing to learn from.
    """
    lessons = lessons_of(data, config)
    run = _Adapting(towers, data, lessons, config, progress)
    run.validate(tracker)
    with progress("adapting", lessons.steps) as task:
        while run.step < lessons.steps and not run.stopping.is_exhausted:
            run.take_step(tracker)
            task.advance()
            if run.step % config.evaluate_every == 0 or run.step == lessons.steps:
                run.validate(tracker)
    return run.end()


class _Held:
    """Texts of one tower, as the held network reads them."""

    def __init__(self, tower: Tower, rows: Rows, columns: NDArray[np.int64], progress: Progress) -> None:
        self._tower = tower
        self._reading = _read(tower, rows, progress)
        self._bags = _bags(tower, rows, columns)
        known = np.maximum.reduceat(np.append(rows.values, 0), np.minimum(rows.offsets[:-1], len(rows.values)))
        self._known = torch.from_numpy(((known > UNK) & (rows.lengths() > 0)).astype(np.float32))[:, None]

    def vectors(self, shift: Tensor, chosen: NDArray[np.int64] | None = None) -> Tensor:
        """Return vectors of some of the texts, of all by default."""
        if chosen is None:
            return self._tower.finished(self._reading, _bagged(self._bags, shift), self._known)
        at = torch.from_numpy(chosen)
        pooled, mean = (None if part is None else part[at].float() for part in self._reading)
        return self._tower.finished(Reading(pooled, mean), _bagged(self._bags[chosen], shift), self._known[at])


class _Adapting:
    """The parameters, the texts, and a step."""

    def __init__(
        self, towers: TwoTower, data: TrainingData, lessons: Lessons, config: TrainConfig, progress: Progress
    ) -> None:
        self._towers, self._data, self._lessons, self._config = towers, data, lessons, config
        towers.eval()
        self._trained = [parameter for parameter in towers.parameters() if parameter.requires_grad]
        towers.requires_grad_(False)
        validation = (data.validation.queries, data.validation.documents) if data.validation else ()
        texts = (lessons.queries, lessons.documents, *validation)
        self._columns = np.unique(np.concatenate([rows.values for rows in texts])).astype(np.int64)
        tower = towers.query_tower, towers.document_tower
        self._held = [
            _Held(tower[place % 2], rows, self._columns, progress) if len(rows) else None
            for place, rows in enumerate(texts)
        ]
        shift = towers.document_tower.shift
        if shift is None:
            raise TrainingError("these towers have no shift to train; towers.adapted is not set")
        self._table = shift.weight
        self._shift = nn.Parameter(shift.weight[torch.from_numpy(self._columns)].clone())
        self._last = [*{id(p): p for one in tower for p in _last_layers(one)}.values()]
        for parameter in self._last:
            parameter.requires_grad_()
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [self._shift], "lr": config.embedding_learning_rate},
                {"params": self._last, "lr": config.learning_rate},
            ],
            betas=_BETAS, weight_decay=0.0,
        )  # fmt: skip
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._alarm = CollapseAlarm(towers.config.similarity)
        self.stopping = EarlyStopping(config.patience)
        self.step = 0
        self._curve: list[tuple[int, float]] = []
        self._before = [part.detach().clone() for part in (self._shift, *self._last)]
        self._best: list[Tensor] = []

    def take_step(self, tracker: Tracker) -> None:
        """Take one step."""
        config = self._config
        loss, vectors = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_gradients([self._shift, *self._last], config.clip_norm)
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise TrainingError(
                f"step {self.step}: the loss is {loss.item():g}; lower training.embedding_learning_rate "
                f"(it is {config.embedding_learning_rate:g})"
            )
        factor = learning_rate_factor(
            self.step, self._lessons.steps, warmup_share=config.warmup_share, schedule=config.schedule
        )
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        width = self._alarm.observe(self.step, vectors)
        self.step += 1
        if self.step % _LOG_EVERY == 0:
            tracker.log(self.step, {"loss": loss.item(), "gradient_norm": norm, "spread": width})

    def _loss(self) -> tuple[Tensor, Tensor]:
        """Return the loss, and the documents' vectors."""
        lesson = self._lessons.at(self.step)
        read = zip(self._held[:2], lesson.rows, strict=True)
        sides = [held.vectors(self._shift, rows) for held, rows in read if held is not None and len(rows)]
        if isinstance(lesson, Aligned):
            return alignment(torch.cat(sides), lesson.targets), sides[-1]
        scores = sides[0] @ sides[1].T / self._config.temperature
        return -(torch.log_softmax(scores, dim=1) * lesson.answers).sum(1).mean(), sides[1]

    def validate(self, tracker: Tracker) -> None:
        """Measure nDCG@10 on the validation queries, if there are any, and keep the best weights."""
        data = self._data.validation
        if data is None:
            return
        with torch.inference_mode():
            queries, documents = (held.vectors(self._shift) for held in self._held[2:] if held is not None)
        value = measured(queries, documents, data, self._towers.config.similarity)
        self._curve.append((self.step, value))
        trained = {"shift": self._shift, **{f"last.{place}": one for place, one in enumerate(self._last)}}
        tracker.log(self.step, {MEASURE: value, **weights_of(trained)})
        if self.stopping.improves(self.step, value):
            self._best = [part.detach().clone() for part in (self._shift, *self._last)]

    def end(self) -> Adapted:
        """Write the best weights into the towers, or those between them and the first (Wortsman et al. 2022)."""
        with torch.no_grad():
            for part, best in zip((self._shift, *self._last), self._best, strict=False):
                part.copy_(best)
            if (kept := self._lessons.kept) < 1:
                for part, before in zip((self._shift, *self._last), self._before, strict=True):
                    part.copy_(before + kept * (part - before))
            self._table[torch.from_numpy(self._columns)] = self._shift
            self._table[0] = 0
        for parameter in self._trained:
            parameter.requires_grad_()
        is_measured = bool(self._curve)
        return Adapted(
            best_step=self.stopping.best_step if is_measured else self.step,
            best_measure=self.stopping.best if is_measured else math.nan,
            untrained_measure=self._curve[0][1] if is_measured else math.nan,
            curve=tuple(self._curve),
            steps=self.step,
            stopped_early=self.step < self._lessons.steps,
        )


def _last_layers(tower: Tower) -> list[nn.Parameter]:
    parts = [part for part in (tower.head, tower.projection) if part is not None]
    return [parameter for part in parts for parameter in part.parameters()]


def _read(tower: Tower, rows: Rows, progress: Progress) -> Reading:
    """Run the encoder over all texts, in batches of like lengths."""
    pooled: Tensor | None = None
    mean: Tensor | None = None
    with torch.no_grad(), in_haste(tower), progress("reading texts for the steps", len(rows)) as task:
        for batch in batches_by_length(rows.lengths().tolist(), _PIECES):
            reading, at = tower.read(rows.padded(batch)), torch.as_tensor(np.asarray(batch))
            pooled = _filled(pooled, reading.pooled, at, len(rows))
            mean = _filled(mean, reading.mean, at, len(rows))
            task.advance(len(batch))
    return Reading(pooled, mean)


def _filled(whole: Tensor | None, part: Tensor | None, at: Tensor, count: int) -> Tensor | None:
    if part is None:
        return None
    whole = torch.zeros(count, part.shape[1]) if whole is None else whole
    whole[at] = part
    return whole


def _bags(tower: Tower, rows: Rows, columns: NDArray[np.int64]) -> sparse.csr_matrix:
    """Return (n, U) the share of each word in each text, by the tower's weights of words."""
    weights = tower.log_weights.detach().exp().numpy()[rows.values]
    totals = np.add.reduceat(np.append(weights, 0), np.minimum(rows.offsets[:-1], len(weights)))
    shares = weights / np.repeat(np.maximum(totals, 1e-9), rows.lengths())
    words = np.searchsorted(columns, rows.values)
    bags = sparse.csr_matrix((shares.astype(np.float32), words, rows.offsets), shape=(len(rows), len(columns)))
    bags.sum_duplicates()
    return bags


class _Bagged(torch.autograd.Function):
    """The product of a sparse matrix, which has no derivative, and a table; scipy's is faster than torch's."""

    @staticmethod
    def forward(ctx: object, bags: sparse.csr_matrix, table: Tensor) -> Tensor:
        ctx.bags = bags  # type: ignore[attr-defined]
        return torch.from_numpy(bags @ table.detach().numpy())

    @staticmethod
    def backward(ctx: object, *above: Tensor) -> tuple[None, Tensor]:
        bags: sparse.csr_matrix = ctx.bags  # type: ignore[attr-defined]
        return None, torch.from_numpy(bags.T.tocsr() @ above[0].numpy())


def _bagged(bags: sparse.csr_matrix, table: Tensor) -> Tensor:
    result: Tensor = _Bagged.apply(bags, table)
    return result
