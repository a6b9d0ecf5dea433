"""Collects the examples of a training run, split into training and validation, and the texts to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import TrainingError
from hybrid_search.protocols import Dataset
from hybrid_search.settings.training import TrainConfig
from hybrid_search.storage import disk_errors
from hybrid_search.training.corpus import add_missing
from hybrid_search.training.data.pairs import Pairs, gather_examples, split_by_answer
from hybrid_search.training.mine import held_out_hashes
from hybrid_search.training.start import KnownQueries
from hybrid_search.types import Document, Example, text_hash

__all__ = ["NO_SPLIT", "Split", "gather"]

NO_SPLIT = "none"
"""The name that means no split: training without labels."""


@dataclass(frozen=True, slots=True)
class Split:
    """The examples of a run, split by query.

    :ivar name: of the data set's split.
    :ivar unseen: ids of documents that answer only validation queries. Their texts are not learnt from, so that
        validation measures documents that are added after training.
    :ivar queries: texts of queries without answers.
    """

    name: str
    pairs: Pairs
    training: list[Example]
    validation: list[Example]
    unseen: frozenset[str]
    queries: list[str]

    def digest(self) -> str:
        """Return a hash of the content, by which a resumed run is known to have the same labels."""
        sha = hashlib.sha256(repr(sorted(self.unseen)).encode("utf-8", "surrogatepass"))
        for examples in (self.training, self.validation):
            for one in examples:
                parts = (one.query, one.positive, one.negatives, one.answers)
                sha.update(repr(parts).encode("utf-8", "surrogatepass"))
        known = sorted((query, sorted(answers)) for query, answers in self.pairs.positives.items())
        sha.update(repr((known, self.queries)).encode("utf-8", "surrogatepass"))
        return sha.hexdigest()

    def documents(self, engine: EmbeddedEngine) -> Iterator[Document]:
        """Stream the documents to learn from."""
        return (document for document in engine.documents() if document.id not in self.unseen)

    def texts(self, engine: EmbeddedEngine) -> Iterator[str]:
        """Stream all texts to learn words from."""
        yield from (document.searchable_text for document in self.documents(engine))
        yield from dict.fromkeys([*(example.query.text for example in self.training), *self.queries])


def gather(
    dataset: Dataset,
    engine: EmbeddedEngine,
    config: TrainConfig,
    *,
    split: str,
    queries_file: Path | None,
    say: Callable[[str], None],
    known: KnownQueries | None = None,
) -> Split:
    """Collect the examples, index the documents that occur only in them, and hold out queries for validation.

    :param known: queries that the towers to start from have seen.
    :raises TrainingError: if there are no labelled examples, and the settings have nothing else to learn from.
    """
    held_out = held_out_hashes(dataset, split)
    pairs = (
        Pairs([], {})
        if split not in dataset.splits()
        else gather_examples(
            dataset,
            split,
            get_documents=engine.get,
            max_samples=config.max_samples,
            seed=config.seed,
            held_out=held_out,
        )
    )
    if not pairs.examples and config.loss != "align":
        _check_without_labels(dataset, config, split, pairs.report)
        why = "" if split in dataset.splits() or not dataset.splits() else f" in split {split!r}"
        say(f"no labelled queries{why}: learning from examples made out of the documents alone")
    add_missing(engine, pairs.examples)
    known = known or KnownQueries()
    share = _held_out_share(pairs, config)
    training, validation = split_by_answer(
        pairs.examples, share, config.seed, learnt=known.trained, held_out=known.held_out
    )
    unseen = _answers(validation, pairs) - _answers(training, pairs)
    counted = "".join(f"; {name.replace('_', ' ')} {count:,}" for name, count in pairs.report.items() if count)
    say(f"corpus: {engine.count():,} documents{counted}; held out for validation: {len(validation):,} examples")
    return Split(split, pairs, training, validation, unseen, _read_queries(queries_file, held_out))


def _held_out_share(pairs: Pairs, config: TrainConfig) -> float:
    """Return the share of the queries to hold out, 0..1; it is larger if there are few queries."""
    share, queries = config.validation_share, len(pairs.positives)
    return max(share, min(1 / 3, config.validation_least / queries)) if share and queries else share


def _check_without_labels(dataset: Dataset, config: TrainConfig, split: str, counted: Mapping[str, int]) -> None:
    if split in dataset.splits():
        raise TrainingError(
            f"{dataset.name} has no training examples in split {split!r} (splits with queries: "
            f"{', '.join(dataset.splits())}; counted: {dict(counted)}); give queries and qrels for it, name another "
            f"with split=NAME, or learn from the documents alone with split={NO_SPLIT}"
        )
    if config.loss in ("margin_mse", "kl") or not config.self_supervised:
        raise TrainingError(
            f"without labelled queries there is nothing for loss {config.loss!r} with self_supervised "
            f"{config.self_supervised:g} to learn from; give queries and qrels, or "
            f"use training.loss=infonce and training.self_supervised=4"
        )


def _answers(examples: Sequence[Example], pairs: Pairs) -> frozenset[str]:
    judged = (pairs.positives[example.query.id] for example in examples)
    return frozenset(example.positive.id for example in examples).union(*judged)


def _read_queries(path: Path | None, held_out: frozenset[str]) -> list[str]:
    if path is None:
        return []
    with disk_errors(f"reading {path}"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in dict.fromkeys(map(str.strip, lines)) if line and text_hash(line) not in held_out]
