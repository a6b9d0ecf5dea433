"""The tokenizer and word vectors of a training run, learnt from its corpus or read from an interrupted run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from hybrid_search.protocols import Progress
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.storage import atomic_write_bytes, disk_errors
from hybrid_search.streams import in_sized_batches
from hybrid_search.towers.tokenizer import TextTokenizer, train_tokenizer
from hybrid_search.towers.word_vectors import WordVectors, count_tokens, train_word_vectors

__all__ = ["Vocabulary", "learn_vocabulary"]

BATCH = 2_048
CHARACTERS = 1 << 24


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer, and what is known of each token before training; None if towers have learnt them already."""

    tokenizer: TextTokenizer
    word_vectors: WordVectors | None = None


def learn_vocabulary(
    texts: Callable[[], Iterator[str]],
    folder: Path,
    towers: TowerConfig,
    config: TrainConfig,
    *,
    count: int,
    progress: Progress,
    teach: Callable[[TextTokenizer, NDArray[np.int64]], WordVectors] | None = None,
) -> Vocabulary:
    """Learn both from the texts, or read what an interrupted run has learnt.

    :param texts: returns the corpus from its start, each time it is called.
    :param folder: where the results are stored.
    :param count: number of texts, for progress.
    :param teach: returns word vectors for a tokenizer and its tokens' counts; None for word2vec.
    """
    tokenizer_file, vectors_file = folder / "tokenizer.json", folder / "word_vectors.safetensors"
    if towers.encoder == "transformer":
        return _of_trunk(texts, towers.trunk)
    if tokenizer_file.exists():
        tokenizer = TextTokenizer.from_file(tokenizer_file)
    else:
        with progress("learning the tokenizer", count) as task:
            tokenizer = train_tokenizer(
                _watched(texts(), task.advance), vocabulary=config.vocabulary, min_frequency=config.min_frequency
            )
        atomic_write_bytes(tokenizer_file, tokenizer.to_json().encode())
    if vectors_file.exists():
        with disk_errors(f"reading {vectors_file}"):
            stored = load_file(vectors_file)
        return Vocabulary(tokenizer, WordVectors(stored["vectors"], stored["counts"]))
    with progress("counting words" if teach else "learning word vectors", count) as task:
        lists = _tokens(_watched(texts(), task.advance), tokenizer)
        if teach:
            counts = count_tokens(lists, tokenizer.vocabulary_size)
        else:
            word_vectors = train_word_vectors(
                lists,
                vocabulary_size=tokenizer.vocabulary_size,
                dimension=towers.embedding_dimension,
                config=config.word_vectors,
                seed=config.seed,
            )
    if teach:  # reports its own progress
        word_vectors = teach(tokenizer, counts)
    content: dict[str, NDArray[Any]] = {"vectors": word_vectors.vectors, "counts": word_vectors.counts}
    atomic_write_bytes(vectors_file, save(content))
    return Vocabulary(tokenizer, word_vectors)


def _of_trunk(texts: Callable[[], Iterator[str]], trunk: str) -> Vocabulary:
    """Use the tokenizer and word vectors of a pretrained model, with counts from the corpus."""
    from hybrid_search.towers.networks.transformer import trunk_vocabulary

    tokenizer, table = trunk_vocabulary(trunk)
    counts = count_tokens(_tokens(texts(), tokenizer), tokenizer.vocabulary_size)
    return Vocabulary(tokenizer, WordVectors(table, counts))


def _tokens(texts: Iterator[str], tokenizer: TextTokenizer) -> Iterator[Sequence[int] | NDArray[np.int32]]:
    for batch in in_sized_batches(texts, BATCH, CHARACTERS, len):
        yield from tokenizer.encode(batch, 10_000)


def _watched(texts: Iterator[str], advance: Callable[[int], None]) -> Iterator[str]:
    for text in texts:
        advance(1)
        yield text
