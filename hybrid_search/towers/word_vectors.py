"""Word vectors: word2vec on the corpus's tokens, and the weight of each token in a mean.

gensim is imported inside functions, because encoding needs :class:`WordVectors` but not the trainer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import MissingExtra
from hybrid_search.settings.training import WordVectorConfig
from hybrid_search.storage import disk_errors
from hybrid_search.towers.tokenizer import PAD

__all__ = ["WordVectors", "count_tokens", "sif_weights", "train_word_vectors", "whitened"]

_TOKENS_SHOWN = {"skipgram": 10_000_000, "cbow": 80_000_000}
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 30
_RARITY = 1e-4
_SPREAD = 0.1
_NOTHING = 1e-6
# With fewer tokens, directions with little variance are noise, which whitening would amplify.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class WordVectors:
    """A vector and a count for each token id.

    :ivar vectors: (V, d) float32; row 0 (PAD) is zero.
    :ivar counts: (V,) int64, the token's occurrences in the corpus.
    """

    vectors: NDArray[np.float32]
    counts: NDArray[np.int64]


def sif_weights(counts: NDArray[np.int64], a: float) -> NDArray[np.float32]:
    """Return smooth inverse frequencies: a / (a + p), p the token's share of the corpus; (V,) float32 in (0, 1].

    Frequent tokens say little about a text; a is 1e-4 to 1e-3 (Arora et al. 2017). An unseen token has weight 1.
    """
    share = counts / max(1, int(counts.sum()))
    return (a / (a + share)).astype(np.float32)


def train_word_vectors(
    token_lists: Iterable[Sequence[int] | NDArray[np.int32]],
    *,
    vocabulary_size: int,
    dimension: int,
    config: WordVectorConfig,
    seed: int,
) -> WordVectors:
    """Train word2vec. Reads the lists once; with one worker the result is deterministic for a seed.

    :param token_lists: a list of token ids for each text; they are streamed to a temporary file.
    :return: unseen tokens have small random vectors.
    :raises MissingExtra: if gensim is not installed.
    :raises StorageError: if the temporary file can't be written.
    """
    rng = np.random.default_rng(seed)
    vectors = ((rng.random((vocabulary_size, dimension)) - 0.5) / dimension).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="hybrid-search-") as folder:
        corpus = Path(folder) / "tokens.txt"
        counts = _write_corpus(corpus, token_lists, vocabulary_size)
        if config.algorithm != "random" and counts.any():
            epochs = config.epochs or _epochs(int(counts.sum()), _TOKENS_SHOWN[config.algorithm])
            _learn(corpus, vectors, config, epochs=epochs, seed=seed)
            if config.whiten and (counts > 0).sum() >= _ENOUGH * dimension:
                vectors = whitened(vectors, counts)
    vectors[PAD] = 0
    return WordVectors(vectors, counts)


def whitened(vectors: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Transform word vectors to mean 0 and equal variance in every direction.

    word2vec's vectors of a small corpus share a few dominant directions, which mask the others in a mean of many words;
    whitening more than doubles the nDCG@10 of an untrained mean (docs/studies/recipes.md).

    :param vectors: (V, d).
    :param counts: (V,); a token's weight in mean and variance is its count times :func:`sif_weights`.
    :return: (V, d); the root mean square of a component is :data:`_SPREAD`. Unseen tokens keep their vectors.
    """
    weights = counts * sif_weights(counts, _RARITY)
    weights = weights / max(1e-9, weights.sum())
    centred = vectors.astype(np.float64) - weights @ vectors
    variances, directions = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    # A corpus with fewer words than dimensions has directions without variance, which are not scaled.
    used = variances > _NOTHING * variances[-1]
    scales = np.where(used, _SPREAD / np.sqrt(np.where(used, variances, 1)), 0)
    return np.where(counts[:, None] > 0, (centred @ directions) * scales, vectors).astype(np.float32)


def count_tokens(token_lists: Iterable[Sequence[int] | NDArray[np.int32]], vocabulary_size: int) -> NDArray[np.int64]:
    """Count how often each token id occurs; (V,) int64."""
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    for tokens in token_lists:
        np.add.at(counts, np.asarray(tokens, dtype=np.int64), 1)
    return counts


def _write_corpus(
    path: Path, token_lists: Iterable[Sequence[int] | NDArray[np.int32]], vocabulary_size: int
) -> NDArray[np.int64]:
    """Write a line of ids for each text; return how often each id occurs."""
    names = [str(token) for token in range(vocabulary_size)]
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    with disk_errors(f"writing {path}"), path.open("w", encoding="ascii") as file:
        for tokens in token_lists:
            if len(tokens):
                np.add.at(counts, np.asarray(tokens), 1)
                file.write(" ".join([names[token] for token in tokens]) + "\n")
    return counts


def _epochs(tokens: int, shown: int) -> int:
    """Return the number of epochs; a small corpus needs many until its vectors converge."""
    return min(_MOST_EPOCHS, max(_LEAST_EPOCHS, round(shown / tokens)))


def _learn(corpus: Path, vectors: NDArray[np.float32], config: WordVectorConfig, *, epochs: int, seed: int) -> None:
    """Train on the file and put each seen token's vector into its row of ``vectors``."""
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise MissingExtra("gensim", "train") from error
    model = Word2Vec(
        corpus_file=str(corpus),
        vector_size=vectors.shape[1],
        sg=int(config.algorithm == "skipgram"),
        window=config.window,
        negative=config.negative,
        sample=config.sample,
        epochs=epochs,
        alpha=config.learning_rate,
        workers=config.workers,
        min_count=1,
        seed=seed,
    )
    vectors[np.array(model.wv.index_to_key, dtype=np.int64)] = model.wv.vectors
