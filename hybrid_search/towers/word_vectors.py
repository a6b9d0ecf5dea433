"""Word vectors: word2vec over the corpus's own tokens, and the weight of each token in a mean.

gensim is imported inside functions: encoding needs :class:`WordVectors` and not the trainer.
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
# Of fewer tokens the directions of little spread are noise, and whitening would make it as loud as the rest.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class WordVectors:
    """A vector and a corpus count for each token id.

    :ivar vectors: (V, d) float32; row 0 (PAD) is zero.
    :ivar counts: (V,) int64, how often the token stands in the corpus.
    """

    vectors: NDArray[np.float32]
    counts: NDArray[np.int64]


def sif_weights(counts: NDArray[np.int64], a: float) -> NDArray[np.float32]:
    """Smooth inverse frequency: a / (a + p), p the token's share of the corpus; (V,) float32 in (0, 1].

    Frequent tokens say little about a text; a is 1e-4 to 1e-3 (Arora et al. 2017). A token never seen weighs 1.
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
    """Train word2vec. Reads the lists once; with one worker the same lists and seed give the same vectors.

    :param token_lists: one list of token ids per text; they are streamed to a temporary file.
    :return: tokens never seen keep small random vectors.
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
    """Turn and stretch word vectors so that no direction is favoured: mean 0, every direction of the same spread.

    word2vec's vectors of a small corpus share a few large directions, which drown the rest in a mean of many words;
    what is left of them after whitening more than doubles the nDCG@10 of an untrained mean (docs/studies/recipes.md).

    :param vectors: (V, d).
    :param counts: (V,), the weight of a token in mean and spread is its count times :func:`sif_weights`.
    :return: (V, d); the root of the mean square of a number is :data:`_SPREAD`. Tokens never seen keep their vectors.
    """
    weights = counts * sif_weights(counts, _RARITY)
    weights = weights / max(1e-9, weights.sum())
    centred = vectors.astype(np.float64) - weights @ vectors
    variances, directions = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    # A corpus with fewer words than numbers in a vector has directions without any spread; they stay without.
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
    """Write one line of ids per text and return how often each id occurs."""
    names = [str(token) for token in range(vocabulary_size)]
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    with disk_errors(f"writing {path}"), path.open("w", encoding="ascii") as file:
        for tokens in token_lists:
            if len(tokens):
                np.add.at(counts, np.asarray(tokens), 1)
                file.write(" ".join([names[token] for token in tokens]) + "\n")
    return counts


def _epochs(tokens: int, shown: int) -> int:
    """Choose the passes over a corpus: a small one needs many until its words have settled."""
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
