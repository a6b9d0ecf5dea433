"""The baseline for training: a weighted mean of untrained word vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hybrid_search.errors import CorruptModel
from hybrid_search.settings.index import Similarity
from hybrid_search.storage import atomic_write_bytes
from hybrid_search.towers.model_card import UNTRAINED_FILE, ModelCard, read_model_card, verify_files
from hybrid_search.towers.tokenizer import UNK, TextTokenizer
from hybrid_search.towers.word_vectors import WordVectors, sif_weights

__all__ = ["UntrainedEncoder", "save_untrained"]


class UntrainedEncoder:
    """An encoder without training: the SIF-weighted mean of a text's word vectors, scaled to unit length."""

    similarity: Similarity = "cosine"

    def __init__(self, table: NDArray[np.float32], tokenizer: TextTokenizer, card: ModelCard) -> None:
        self._table, self._tokenizer, self._card = table, tokenizer, card

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the baseline of a checkpoint.

        :raises ModelNotFound: if there is no checkpoint.
        :raises CorruptModel: if a file has changed since it was written.
        """
        card = read_model_card(folder)
        verify_files(folder, card, ("tokenizer.json", UNTRAINED_FILE))
        try:
            stored = load_file(folder / UNTRAINED_FILE)
            table = stored["vectors"].astype(np.float32) * stored["scales"][:, None]
        except (SafetensorError, KeyError) as error:
            raise CorruptModel(f"{folder / UNTRAINED_FILE} is not readable: {error}; train again") from error
        table[: UNK + 1] = 0
        return cls(table, TextTokenizer.from_file(folder / "tokenizer.json"), card)

    @property
    def fingerprint(self) -> str:
        """Hash of the word vectors' file; differs from the model's fingerprint, as the vectors differ."""
        return self._card.files[UNTRAINED_FILE]

    @property
    def dimension(self) -> int:
        """Length of the word vectors."""
        return int(self._table.shape[1])

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode queries: (n, dimension) rows of unit length; a text without a known token has a zero row."""
        return self._encode(texts, self._card.tower.max_query_tokens)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode documents; otherwise as :meth:`encode_queries`."""
        return self._encode(texts, self._card.tower.max_document_tokens)

    def _encode(self, texts: Sequence[str], max_tokens: int) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, ids in zip(vectors, self._tokenizer.encode(texts, max_tokens), strict=True):
            # The direction of a weighted mean is that of the weighted sum.
            self._table[ids].sum(axis=0, out=row)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors


def save_untrained(path: Path, untrained: WordVectors, sif_a: float) -> None:
    """Write word vectors as 8-bit numbers, each with a float32 factor: its scale times its SIF weight.

    The cosine between an original and a stored vector is above .9999.

    :raises StorageError: if the file can't be written.
    """
    steps = np.abs(untrained.vectors).max(axis=1) / 127
    vectors = np.rint(untrained.vectors / np.where(steps > 0, steps, 1)[:, None])
    tensors: dict[str, NDArray[Any]] = {
        "vectors": vectors.astype(np.int8),
        "scales": (steps * sif_weights(untrained.counts, sif_a)).astype(np.float32),
    }
    atomic_write_bytes(path, save(tensors))  # not save_file, whose files are readable by their owner only
