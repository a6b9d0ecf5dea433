"""A training run: the parts shared by its rounds, and the steps of a round: arrays, training, checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.protocols import Reporter, Tracker
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.training import NegativeSource, TowerConfig, TrainConfig
from hybrid_search.towers.checkpoint import load_towers, save_checkpoint
from hybrid_search.towers.coverage import ReadByTowers, read_by_towers
from hybrid_search.towers.model_card import ServingDefaults, sample_of
from hybrid_search.towers.networks.two_tower import TwoTower, cosines_to_shuffled, seeded_towers
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.small import Sample
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.arrays import (
    Corpus,
    Tokens,
    TrainingData,
    ValidationData,
    build_training_data,
    build_validation_data,
)
from hybrid_search.training.fit.defaults import FitReport, fit_defaults
from hybrid_search.training.fit.made import fit_on_made_queries, sampling
from hybrid_search.training.loop.loop import TrainReport, train_towers
from hybrid_search.training.loop.weights import parameters_of
from hybrid_search.training.request import DataSource
from hybrid_search.training.resume import WorkFolder
from hybrid_search.training.split import Split
from hybrid_search.training.start import KnownQueries, Start
from hybrid_search.training.teacher.scores import TeacherScores, read_teacher_scores
from hybrid_search.training.teacher.vectors import Teaching
from hybrid_search.training.vocabulary import Vocabulary
from hybrid_search.types import Document, Rejection, text_hash

__all__ = ["Reject", "Round", "Say", "TrainingRun", "tokens_of"]

_SAMPLED = 200
"""Texts for each tower by which finished towers are probed and rounded."""

Reject = Callable[[Rejection], None]
Say = Callable[[str], None]
Negatives = Mapping[NegativeSource, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of training: the first, or a later one with negatives that were mined again.

    :ivar number: 0 for the first round.
    :ivar model: folder of its checkpoint.
    :ivar negatives: number of negatives that were mined again.
    :ivar dropped: reason -> number of mined documents dropped as false negatives.
    """

    number: int
    model: Path
    report: TrainReport
    fit: FitReport
    negatives: int = 0
    dropped: Mapping[str, int] | None = None

    def told(self, *, is_kept: bool) -> dict[str, Any]:
        """Return the round's figures as JSON values."""
        return {
            "round": self.number,
            "kept": is_kept,
            "steps": self.report.steps,
            "best_step": self.report.best_step,
            "negatives": self.negatives,
            "dropped": dict(self.dropped or {}),
            **{name: value for name, value in self.fit.validation.items() if name != "queries"},
        }


@dataclass(frozen=True)
class TrainingRun:
    """The data and settings that a run's rounds share.

    :ivar start: the model that the first round starts from; None for new towers.
    :ivar source: where the data set is, if that is known.
    :ivar teaching: the teacher, if there is one.
    """

    engine: EmbeddedEngine
    split: Split
    vocabulary: Vocabulary
    towers: TowerConfig
    config: TrainConfig
    work: WorkFolder
    tracker: Tracker
    reporter: Reporter
    start: Start | None = None
    source: DataSource | None = None
    teaching: Teaching | None = None

    @cached_property
    def tokens(self) -> Tokens:
        """The tokenizer, with each tower's maximum length."""
        return tokens_of(self.vocabulary, self.towers)

    @cached_property
    def reading(self) -> ReadByTowers:
        """Figures on how much of the documents the towers read."""
        longest = self.towers.max_document_tokens
        return read_by_towers(self.split.documents(self.engine), self.vocabulary.tokenizer, longest)

    @cached_property
    def validation(self) -> ValidationData | None:
        """The validation data of all rounds; None without validation queries."""
        config, split = self.config, self.split
        return build_validation_data(
            split.validation, self.tokens, positives=split.pairs.positives, others=self.engine.documents(),
            max_queries=config.validation_queries, max_documents=config.validation_documents, seed=config.seed,
        )  # fmt: skip

    def data(
        self,
        config: TrainConfig,
        negatives: Negatives,
        alignment: Alignment | None = None,
        teacher: TeacherScores | None = None,
    ) -> TrainingData:
        """Convert examples, negatives and the validation corpus to arrays of tokens.

        :param alignment: texts with a teacher's vectors, for the first round with loss ``align``.
        :param teacher: scores to use instead of those in the settings' file.
        """
        split, engine = self.split, self.engine
        if teacher is None and config.teacher_scores:
            teacher = read_teacher_scores(Path(config.teacher_scores), self.reporter.reject)
        return build_training_data(
            split.training, self.tokens, Corpus(engine.get, split.documents(engine)), positives=split.pairs.positives,
            negatives=negatives, teacher=teacher, validation=self.validation, alignment=alignment,
        )  # fmt: skip

    def new_towers(self) -> TwoTower:
        """Make the initial towers of the first round, or read those to start from."""
        size, known = self.vocabulary.tokenizer.vocabulary_size, self.vocabulary.word_vectors
        if self.start:
            trained, _, _ = load_towers(self.start.folder)
            towers = seeded_towers(self.towers, size, seed=self.config.seed)  # with dropout of its own, for example
            towers.load_state_dict({**towers.state_dict(), **trained.state_dict()})  # a shift begins as none
            return towers
        assert known is not None  # new towers start from word vectors
        return seeded_towers(self.towers, size, vectors=known.vectors, counts=known.counts, seed=self.config.seed)

    def train(
        self, towers: TwoTower, data: TrainingData, config: TrainConfig, folder: Path, *, tracker: Tracker
    ) -> tuple[TrainReport, FitReport]:
        """Train the towers in place, write them to ``folder/model``, and measure the hybrid on the validation queries.

        :param folder: also contains the round's state, from which an interrupted round continues.
        """
        report = train_towers(towers, data, config, work=folder, tracker=tracker, progress=self.reporter.progress)
        training = {
            "split": self.split.name,
            "settings": msgspec.to_builtins(config),
            "parameters": parameters_of(towers),
            "data": dict(data.report),
            "read_by_towers": msgspec.to_builtins(self.reading),
            "cosine_to_shuffled": cosines_to_shuffled(
                towers, queries=self._sample.queries, documents=self._sample.documents
            ),
            "report": msgspec.to_builtins(report),
            "numpy": np.__version__,
        }
        self._write(folder / "model", towers, training)
        fit = fit_defaults(
            self.engine, folder, self.split.training, self.split.validation,
            positives=self.split.pairs.positives, progress=self.reporter.progress,
            otherwise=self._of_start if self.start else None,
        )  # fmt: skip
        tracker.log(report.steps, {f"validation/{name}": value for name, value in fit.validation.items()})
        return report, fit

    def _of_start(self) -> tuple[ServingDefaults, str]:
        """Return the defaults of an index where nobody judged: what the model to start from has, and why.

        Where that weighs every index anew, it does so here: what was trained on these documents would overrate itself.
        """
        assert self.start is not None
        own, name = self.start.card.defaults, self.start.name
        if own.weigh:
            encoder, kept = OnnxEncoder.load(self.start.folder), list[Document]()
            deque(sampling(self.engine.documents(), kept), maxlen=0)
            settings = IndexSettings(
                fingerprint=encoder.fingerprint, dimension=encoder.dimension, similarity=encoder.similarity,
                bm25=own.bm25, fusion=own.fusion,
            )  # fmt: skip
            if made := fit_on_made_queries(kept, encoder, settings, self.reporter.progress):
                by = f"those that were best for {name} on {made.queries} queries made of these documents"
                return own.replace(fusion=made.fusion, weigh=False), by
        return own, f"those of {name}"

    @cached_property
    def _sample(self) -> Sample:
        queries = [example.query.text for example in islice(self.split.training, _SAMPLED)]
        documents = [document.searchable_text for document in islice(self.split.documents(self.engine), _SAMPLED)]
        return Sample(self.tokens.queries(queries), self.tokens.documents(documents))

    @property
    def parents(self) -> tuple[str, ...]:
        """Fingerprints of the models that the run goes back to, the nearest first."""
        return (self.start.card.fingerprint, *self.start.card.parents) if self.start else ()

    def _write(self, folder: Path, towers: TwoTower, training: Mapping[str, Any]) -> None:
        untrained = self.start.untrained if self.start else self.vocabulary.word_vectors
        teacher, axes = self._axes()
        source = msgspec.to_builtins(self.source) if self.source else None
        save_checkpoint(
            folder, towers, self.vocabulary.tokenizer,
            untrained=untrained, training={**training, "data_set": source, "teacher": teacher},
            defaults=ServingDefaults(), sample=self._sample,
            training_queries=sample_of(example.query.text for example in self.split.pairs.examples),
            record=self._known().arrays() | axes, parents=self.parents,
        )  # fmt: skip

    def _known(self) -> KnownQueries:
        """Return the queries that this run and those before it have seen."""
        before = self.start.known if self.start else KnownQueries()
        trained = {text_hash(example.query.text) for example in self.split.training} | before.trained
        held_out = {text_hash(example.query.text) for example in self.split.validation} | before.held_out
        return KnownQueries(frozenset(trained), frozenset(held_out - trained))

    def _axes(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Return the axes of a teacher's vectors that the towers have learnt, now or earlier, and this teacher."""
        if own := self.teaching.record() if self.teaching else {}:
            return self.config.teacher, dict(own)
        if self.start and self.start.axes is not None:
            return self.start.teacher, {"axes": self.start.axes}
        return "", {}


def tokens_of(vocabulary: Vocabulary, towers: TowerConfig) -> Tokens:
    """Return the tokenizer with each tower's maximum length."""
    tokenizer = vocabulary.tokenizer
    return Tokens(
        queries=lambda texts: tokenizer.encode(texts, towers.max_query_tokens),
        documents=lambda texts: tokenizer.encode(texts, towers.max_document_tokens),
    )
