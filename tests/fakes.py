"""An encoder whose vectors can be told by hand, and documents to use it on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.types import Document

AXES = {"cat": 0, "kitten": 0, "dog": 1, "puppy": 1, "car": 2, "automobile": 2, "tree": 3, "oak": 3}


AXIS_SETTINGS = IndexSettings(fingerprint="axes", dimension=4)
"""Of an index for :class:`AxisEncoder`."""


class AxisEncoder:
    """Each known word is one of four axes, synonyms share one; a text is the sum of its words, of unit length.

    A text without a word of :data:`AXES` is a zero row. Both towers are alike.
    """

    dimension = 4

    def __init__(self, fingerprint: str = "axes", similarity: Similarity = "cosine") -> None:
        self.fingerprint = fingerprint
        self.similarity = similarity

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                if word in AXES:
                    vectors[row, AXES[word]] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self.encode_queries(texts)


PETS = (
    Document("d1", "cat cat dog", metadata={"lang": "en"}),
    Document("d2", "the kitten sleeps", metadata={"lang": "en"}),
    Document("d3", "dog", title="puppy", metadata={"lang": "de"}),
    Document("d4", "car", metadata={"lang": "de"}),
    Document("d5", "sleeps sleeps", metadata={"lang": "en"}),
)
"""d1 mixes two axes, d2 and d3 are pure, d4 is far from all, d5 has no vector."""
