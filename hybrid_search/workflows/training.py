"""From a data set to a checkpoint: corpus, tokens, word vectors, negatives, towers, fitted defaults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.config import TowerConfig, TrainConfig
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import TrainingError, UsageError
from hybrid_search.protocols import Dataset, Progress, Tracker, silent
from hybrid_search.storage import disk_errors, replace_folder
from hybrid_search.towers.checkpoint import save_checkpoint, set_defaults
from hybrid_search.towers.model_card import MODEL_FILE, ModelCard, ServingDefaults
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.towers.two_tower import TwoTower, seeded_towers
from hybrid_search.towers.word_vectors import WordVectors
from hybrid_search.training.data import Corpus, Tokens, TrainingData, build_training_data, build_validation_data
from hybrid_search.training.distillation import read_teacher_scores
from hybrid_search.training.loop import TrainReport, train_towers
from hybrid_search.training.negatives_file import read_header
from hybrid_search.training.pairs import Pairs, gather_examples, split_by_answer
from hybrid_search.training.tracking import EveryTracker, JsonlTracker
from hybrid_search.types import Document, Example, Rejection, text_hash
from hybrid_search.workflows.corpus import add_missing, open_corpus
from hybrid_search.workflows.fitting import FitReport, fit_defaults
from hybrid_search.workflows.hard_negatives import collect_negatives, needs_dense_file
from hybrid_search.workflows.mining import held_out_hashes
from hybrid_search.workflows.teaching import Lessons, Texts, study
from hybrid_search.workflows.vocabulary import Vocabulary, learn_vocabulary
from hybrid_search.workflows.work import WorkFolder

__all__ = ["TrainRequest", "TrainSummary", "train"]

LOG = "log.jsonl"
"""The run's numbers, in the checkpoint too."""

Reject = Callable[[Rejection], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, and on what.

    :ivar source: names the data beyond the loader (its path); an unfinished run on other data is not gone on with.
    :ivar split: what to train on; a query whose text is in any other split is left out.
    :ivar negatives_files: files of ``mine``; their sources are not mined again.
    :ivar queries_file: further queries without answers, one a line, for the teacher.
    :ivar teacher_cache: where teachers' vectors are kept; None for the user's cache folder.
    :ivar restart: throw away an unfinished run instead of going on with it, and replace a finished model.
    :ivar keep_work: keep the work folder (index, negatives, log) after the end.
    """

    towers: TowerConfig = field(default_factory=TowerConfig)
    config: TrainConfig = field(default_factory=TrainConfig)
    source: str = ""
    split: str = "train"
    negatives_files: tuple[Path, ...] = ()
    queries_file: Path | None = None
    teacher_cache: Path | None = None
    restart: bool = False
    keep_work: bool = False


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What came out. ``validation`` has the nDCG@10 of each system on the held-out training queries."""

    model: str
    fingerprint: str
    seconds: float
    steps: int
    best_step: int
    stopped_because: str
    vocabulary_size: int
    examples: Mapping[str, int]
    validation: Mapping[str, float]
    defaults: Mapping[str, Any]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Split:
    """The examples of a run, apart by query.

    :ivar unseen: ids of the documents that only validation queries ask for: nothing is learnt from their texts, so that
        validation tells how documents fare that come after training.
    :ivar queries: texts of queries without answers.
    """

    pairs: Pairs
    training: list[Example]
    validation: list[Example]
    unseen: frozenset[str]
    queries: list[str]

    def documents(self, engine: EmbeddedEngine) -> Iterator[Document]:
        """Stream the documents to learn from."""
        return (document for document in engine.documents() if document.id not in self.unseen)

    def texts(self, engine: EmbeddedEngine) -> Iterator[str]:
        """Stream all texts to learn words from."""
        yield from (document.searchable_text for document in self.documents(engine))
        yield from dict.fromkeys([*(example.query.text for example in self.training), *self.queries])


def train(
    dataset: Dataset,
    out: Path,
    request: TrainRequest | None = None,
    *,
    tracker: Tracker | None = None,
    reject: Reject = lambda rejection: None,
    progress: Progress = silent,
    say: Say = lambda text: None,
) -> TrainSummary:
    """Train two towers on a data set and write a checkpoint.

    An interrupted run leaves ``OUT.work``; the same call goes on from there and ends with the same weights.

    :param out: folder of the checkpoint; an older one there is replaced when the new one is complete.
    :param tracker: takes the run's numbers beside the checkpoint's own ``log.jsonl``; closed at the end.
    :param reject: called with each record that can't be used.
    :raises UsageError: if ``out`` holds a finished model and ``restart`` is not set, or a file or split is not there.
    :raises TrainingError: if there is nothing to train on, or training can't go on.
    :raises ResumeMismatch: if ``OUT.work`` holds an unfinished run with other arguments.
    """
    request = request or TrainRequest()
    work = WorkFolder(out)
    _check_request(dataset, out, request, work)
    if work.claim(
        f"{dataset.name} {request.source}".strip(),
        request.split,
        request.towers,
        request.config,
        negatives_files=request.negatives_files,
        restart=request.restart,
    ):
        say(f"going on with the unfinished run in {work.path}")
    engine = open_corpus(dataset, work, reject=reject, progress=progress)
    try:
        split = _gather(dataset, engine, request, say)
        teaching = _Teaching(engine, split, request, progress, say) if request.config.teacher else None
        vocabulary = learn_vocabulary(
            lambda: split.texts(engine),
            work.path,
            request.towers,
            request.config,
            count=engine.count() + len(split.training),
            progress=progress,
            teach=teaching.word_vectors if teaching else None,
        )
        data = _prepare(engine, split, vocabulary, request, work, reject=reject, progress=progress, say=say)
        if teaching and request.config.loss == "align":
            data = replace(
                data,
                alignment=teaching.lessons(vocabulary.tokenizer).alignment(
                    vocabulary.tokenizer, _tokens(vocabulary, request)
                ),
            )
        towers = _new_towers(request, vocabulary)
        log = JsonlTracker(work.log)
        trackers = EveryTracker(log, tracker) if tracker else log
        try:
            report = train_towers(towers, data, request.config, work=work.path, tracker=trackers, progress=progress)
        finally:
            trackers.close()
        _write(work.model, towers, vocabulary, request, report, data)
        fit = fit_defaults(
            engine, work, split.training, split.validation, positives=split.pairs.positives, progress=progress
        )
        card = _publish(work, out, fit)
    finally:
        engine.close()
    if not request.keep_work:
        work.remove()
    return _summary(out, card, report, fit, split, vocabulary)


def _check_request(dataset: Dataset, out: Path, request: TrainRequest, work: WorkFolder) -> None:
    """Find now what would otherwise be found after minutes of work."""
    if (out / MODEL_FILE).exists() and not request.restart and not work.path.exists():
        raise UsageError(f"{out} holds a finished model; --restart trains again and replaces it, or give another --out")
    for file in (
        *request.negatives_files,
        *([Path(request.config.teacher_scores)] * bool(request.config.teacher_scores)),
    ):
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file")
    if request.split not in dataset.splits():
        splits = ", ".join(dataset.splits()) or "none"
        raise UsageError(f"{dataset.name} has no split {request.split!r} with queries; there are: {splits}")
    if needs_dense_file(request.config) and "dense" not in {
        read_header(file).source for file in request.negatives_files
    }:
        raise UsageError(
            "dense negatives come from a trained index: run `hybrid-search mine --mode knn` and give its file "
            "with --negatives-file"
        )


def _gather(dataset: Dataset, engine: EmbeddedEngine, request: TrainRequest, say: Say) -> _Split:
    """Collect the examples, index the documents that only they bring, and hold some queries out."""
    config = request.config
    held_out = held_out_hashes(dataset, request.split)
    pairs = gather_examples(
        dataset,
        request.split,
        get_documents=engine.get,
        max_samples=config.max_samples,
        seed=config.seed,
        held_out=held_out,
    )
    if not pairs.examples:
        splits = ", ".join(dataset.splits()) or "none"
        raise TrainingError(
            f"{dataset.name} has no training examples in split {request.split!r} (splits with queries: {splits}; "
            f"counted: {dict(pairs.report)}); give queries and qrels for it, or name another with --split"
        )
    add_missing(engine, pairs.examples)
    training, validation = split_by_answer(pairs.examples, config.validation_share, config.seed)
    unseen = _answers(validation, pairs) - _answers(training, pairs)
    counted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in pairs.report.items() if count)
    say(f"corpus: {engine.count():,} documents; {counted}; held out for validation: {len(validation):,} examples")
    return _Split(pairs, training, validation, unseen, _read_queries(request.queries_file, held_out))


def _answers(examples: Sequence[Example], pairs: Pairs) -> frozenset[str]:
    judged = (pairs.positives[example.query.id] for example in examples)
    return frozenset(example.positive.id for example in examples).union(*judged)


def _read_queries(path: Path | None, held_out: frozenset[str]) -> list[str]:
    if path is None:
        return []
    with disk_errors(f"reading {path}"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in dict.fromkeys(map(str.strip, lines)) if line and text_hash(line) not in held_out]


class _Teaching:
    """The teacher's part of a run; it is asked once, when the tokens are known."""

    def __init__(
        self, engine: EmbeddedEngine, split: _Split, request: TrainRequest, progress: Progress, say: Say
    ) -> None:
        self._engine, self._split, self._request = engine, split, request
        self._progress, self._say = progress, say
        self._lessons: Lessons | None = None

    def lessons(self, tokenizer: TextTokenizer) -> Lessons:
        if self._lessons is None:
            split, config = self._split, self._request.config
            queries = [*(example.query.text for example in split.training), *split.queries]
            documents = (document.searchable_text for document in split.documents(self._engine))
            self._lessons = study(
                config.teacher, Texts.of(documents, queries, config.seed), tokenizer,
                dimension=self._request.towers.dimension, cache=self._request.teacher_cache,
                progress=self._progress, say=self._say,
            )  # fmt: skip
        return self._lessons

    def word_vectors(self, tokenizer: TextTokenizer, counts: NDArray[np.int64]) -> WordVectors:
        return self.lessons(tokenizer).word_vectors(tokenizer, counts, self._request.config.seed)


def _prepare(
    engine: EmbeddedEngine,
    split: _Split,
    vocabulary: Vocabulary,
    request: TrainRequest,
    work: WorkFolder,
    *,
    reject: Reject,
    progress: Progress,
    say: Say,
) -> TrainingData:
    """Turn examples, negatives and the validation corpus into arrays of tokens."""
    config, tokens = request.config, _tokens(vocabulary, request)
    negatives = collect_negatives(
        engine, split.pairs, split.training, config,
        work=work, files=request.negatives_files, reject=reject, progress=progress, say=say,
    )  # fmt: skip
    validation = build_validation_data(
        split.validation, tokens, positives=split.pairs.positives, others=engine.documents(),
        max_queries=config.validation_queries, max_documents=config.validation_documents, seed=config.seed,
    )  # fmt: skip
    teacher = read_teacher_scores(Path(config.teacher_scores), reject) if config.teacher_scores else None
    return build_training_data(
        split.training, tokens, Corpus(engine.get, split.documents(engine)), positives=split.pairs.positives,
        negatives=negatives, teacher=teacher, validation=validation,
    )  # fmt: skip


def _tokens(vocabulary: Vocabulary, request: TrainRequest) -> Tokens:
    towers, tokenizer = request.towers, vocabulary.tokenizer
    return Tokens(
        queries=lambda texts: tokenizer.encode(texts, towers.max_query_tokens),
        documents=lambda texts: tokenizer.encode(texts, towers.max_document_tokens),
    )


def _new_towers(request: TrainRequest, vocabulary: Vocabulary) -> TwoTower:
    known = vocabulary.word_vectors
    return seeded_towers(
        request.towers,
        vocabulary.tokenizer.vocabulary_size,
        vectors=known.vectors,
        counts=known.counts,
        seed=request.config.seed,
    )


def _write(
    folder: Path,
    towers: TwoTower,
    vocabulary: Vocabulary,
    request: TrainRequest,
    report: TrainReport,
    data: TrainingData,
) -> None:
    training = {
        "split": request.split,
        "settings": msgspec.to_builtins(request.config),
        "data": dict(data.report),
        "report": msgspec.to_builtins(report),
        "numpy": np.__version__,
    }
    save_checkpoint(
        folder, towers, vocabulary.tokenizer,
        untrained=vocabulary.word_vectors, training=training, defaults=ServingDefaults(),
    )  # fmt: skip


def _publish(work: WorkFolder, out: Path, fit: FitReport) -> ModelCard:
    """Store the fitted defaults and the log in the checkpoint, and put it in its place."""
    card = set_defaults(work.model, fit.defaults)
    if work.log.exists():
        with disk_errors(f"writing {work.model / LOG}"):
            shutil.copyfile(work.log, work.model / LOG)
    replace_folder(work.model, out)
    return card


def _summary(
    out: Path, card: ModelCard, report: TrainReport, fit: FitReport, split: _Split, vocabulary: Vocabulary
) -> TrainSummary:
    notes = list(fit.notes)
    if report.best_step == 0 and report.steps:
        notes.insert(0, "training did not improve on the untrained towers; more examples or a lower rate may help")
    return TrainSummary(
        model=str(out),
        fingerprint=card.fingerprint,
        seconds=round(report.seconds, 1),
        steps=report.steps,
        best_step=report.best_step,
        stopped_because=report.stopped_because,
        vocabulary_size=vocabulary.tokenizer.vocabulary_size,
        examples=dict(split.pairs.report),
        validation=fit.validation,
        defaults=msgspec.to_builtins(card.defaults),
        notes=notes,
    )
