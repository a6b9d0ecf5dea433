"""What a step of :mod:`~hybrid_search.training.loop.adapting` learns from: queries and documents by their rows.

Everything is drawn by seed and step, from texts that are known before the first step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_search.errors import TrainingError
from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Int32, Rows
from hybrid_search.training.loop.made_examples import SelfSupervision

__all__ = ["Aligned", "Answered", "Lessons", "lessons_of"]

_QUERIES, _DOCUMENTS = 256, 1_024
"""Of a step."""

_ANSWERS, _NEGATIVES = 4, 2  # drawn for a query; the other documents are drawn at random
_FEW = 300
"""With fewer labelled queries, examples made of the documents are added."""

_PASSES, _FEWEST_STEPS = 70, 100
"""Most passes over the queries, but not fewer steps than these: a small data set is learnt by heart early."""

_MADE = 20_000
_MOST_OF_A_KIND = 20_000  # texts that a teacher has vectors for


@dataclass(frozen=True, slots=True)
class Answered:
    """Queries, documents, and which answer which.

    :ivar rows: of the queries (b,) and of the documents (m,).
    :ivar answers: (b, m) float32, rows that sum to 1: what a softmax over the documents should be.
    """

    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    answers: Tensor


@dataclass(frozen=True, slots=True)
class Aligned:
    """Texts of both towers, and a teacher's vectors of them: (n, d) float32, those of queries first."""

    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    targets: Tensor


class Lessons(ABC):
    """The texts of all steps, and what each step takes of them.

    :ivar queries: tokens of the query tower's texts; ``documents``: of the document tower's.
    :ivar kept: share of the change of all steps that is kept at the end, above 0 to 1.
    """

    def __init__(self, queries: Rows, documents: Rows, steps: int, kept: float = 1.0) -> None:
        self.queries, self.documents, self.steps, self.kept = queries, documents, steps, kept

    @abstractmethod
    def at(self, step: int) -> Answered | Aligned:
        """Return what a step learns from."""


def lessons_of(data: TrainingData, config: TrainConfig) -> Lessons:
    """Return the lessons of a run: those of a teacher, of labels, or of the documents themselves.

    :raises TrainingError: if there is nothing to learn from.
    """
    if config.loss == "align":
        if data.alignment is None:
            raise TrainingError("the loss 'align' needs a teacher's vectors; name the teacher")
        return _OfTeacher(data.alignment, config)
    return _OfAnswers(data, config)


def _steps(config: TrainConfig) -> int:
    return min(config.adapt_steps, config.max_steps or config.adapt_steps)


class _OfAnswers(Lessons):
    """Queries and their answers among many documents, labelled or made of the documents."""

    def __init__(self, data: TrainingData, config: TrainConfig) -> None:
        asked = sorted({int(query) for query, _ in data.pairs})
        queries: list[Int32] = data.queries.chosen(asked)
        documents: list[Int32] = data.documents.chosen(range(len(data.documents))) if asked else []
        self._answers: list[NDArray[np.integer]] = [data.positives[query] for query in asked]
        pools = [rows for source, rows in data.negatives.items() if source != "random"]
        self._negatives = [[pool[query] for pool in pools] for query in asked]
        if len(asked) < _FEW:
            made, variants, answers = _made(data.documents, config.seed, at=len(documents))
            queries += made
            documents += variants
            self._answers += answers
            self._negatives += [[] for _ in made]
        passes = max(_FEWEST_STEPS, _PASSES * len(queries) // _QUERIES)
        # A query made of a document is no question: all of what it teaches would forget some of what is one.
        kept = 1.0 if asked else config.adapt_share
        super().__init__(Rows.of(queries), Rows.of(documents), min(_steps(config), passes), kept)
        self._labelled, self._seed = len(asked), config.seed

    def at(self, step: int) -> Answered:
        draw = np.random.default_rng([self._seed, 0, step])
        made = len(self.queries) - self._labelled
        rows = np.concatenate([
            draw.permutation(self._labelled)[:_QUERIES],
            self._labelled + draw.permutation(made)[:_QUERIES],
        ])  # fmt: skip
        wanted: set[int] = set()
        for row in rows:
            wanted.update(draw.permutation(self._answers[row])[:_ANSWERS].tolist())
            for pool in self._negatives[row]:
                wanted.update(draw.permutation(pool)[:_NEGATIVES].tolist())
        others = draw.permutation(len(self.documents))[: max(0, _DOCUMENTS - len(wanted))]
        columns = np.array(sorted(wanted.union(others.tolist())), dtype=np.int64)
        right = np.stack([np.isin(columns, self._answers[row]) for row in rows]).astype(np.float32)
        return Answered((rows, columns), torch.from_numpy(right / right.sum(1, keepdims=True)))


def _made(documents: Rows, seed: int, at: int) -> tuple[Sequence[Int32], Sequence[Int32], list[NDArray[np.int64]]]:
    """Make two queries of each document, with the documents that they leave.

    :param at: row of the first of these; 0 if there are no labels.
    :return: queries, documents, and the rows of each query's answers: all that is left of its document.
    """
    supervision = SelfSupervision(documents, seed)
    if not at:  # nothing else to learn from
        supervision.check()
    sources: list[NDArray[np.int64]] = []
    queries: list[Int32] = []
    variants: list[Int32] = []
    for time in range(2):
        rows, made, left = supervision.draw(_MADE // 2, time)
        sources.append(rows)
        queries += made
        variants += left
    of = np.concatenate(sources)
    rows_of: dict[int, list[int]] = {}
    for place, source in enumerate(of.tolist()):
        rows_of.setdefault(source, []).append(at + place)
    return queries, variants, [np.array(rows_of[source], dtype=np.int64) for source in of.tolist()]


class _OfTeacher(Lessons):
    """Texts of many kinds, each with the teacher's vector."""

    def __init__(self, alignment: Alignment, config: TrainConfig) -> None:
        draw = np.random.default_rng([config.seed, 4])
        first, kept = 0, []
        for kind in alignment.kinds:
            rows = np.arange(first, first + kind.texts)
            kept.append(np.sort(draw.permutation(rows)[:_MOST_OF_A_KIND]))
            first += kind.texts
        kinds = list(zip(kept, alignment.kinds, strict=True))
        sides = [
            np.concatenate([np.zeros(0, np.int64), *(rows for rows, kind in kinds if kind.is_query is side)])
            for side in (True, False)
        ]
        queries, documents = (Rows.of(alignment.texts.chosen(rows)) for rows in sides)
        super().__init__(queries, documents, _steps(config))
        self._targets = alignment.targets[np.concatenate(sides)]
        self._sides = [
            [(len(rows), kind.share) for rows, kind in kinds if kind.is_query is side] for side in (True, False)
        ]
        self._seed = config.seed

    def at(self, step: int) -> Aligned:
        draw = np.random.default_rng([self._seed, 0, step])
        drawn = []
        for kinds in self._sides:
            whole, first, rows = sum(share for texts, share in kinds if texts), 0, [np.zeros(0, np.int64)]
            for texts, share in kinds:
                count = round(_DOCUMENTS / 2 * share / whole) if texts else 0
                rows.append(first + draw.integers(0, max(1, texts), count))
                first += texts
            drawn.append(np.concatenate(rows))
        at = np.concatenate([drawn[0], len(self.queries) + drawn[1]])
        return Aligned((drawn[0], drawn[1]), torch.from_numpy(self._targets[at].astype(np.float32)))
