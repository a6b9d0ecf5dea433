"""BM25 scores of a batch's pairs, for a loss that sees them. Layer 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.config import Bm25
from hybrid_search.training.rows import Int32, Rows

__all__ = ["LexicalScores"]

_RESERVED = 2
"""PAD and UNK are no terms."""


class LexicalScores:
    """BM25 in Lucene's form over the towers' tokens, which unlike the index's terms are not stemmed.

    idf and the mean length come from the training documents (at most 50,000 beside the examples' own).
    """

    def __init__(self, documents: Rows, bm25: Bm25 | None = None) -> None:
        self._bm25 = bm25 or Bm25()
        size = int(documents.values.max(initial=0)) + 1
        owners = np.repeat(np.arange(len(documents)), documents.lengths())
        pairs = np.unique(owners * size + documents.values)  # a token counts once for a document
        having = np.bincount(pairs % size, minlength=size)
        self._idf = np.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
        self._unknown = float(np.log(1 + (len(documents) + 0.5) / 0.5))
        self._average = max(1.0, float(documents.lengths().mean()) if len(documents) else 1.0)

    def of(self, queries: Sequence[Int32], documents: Sequence[Int32]) -> NDArray[np.float32]:
        """Score all queries against all documents, as token ids without padding: (queries, documents)."""
        terms = np.unique(np.concatenate([np.empty(0, np.int32), *queries]))
        terms = terms[terms >= _RESERVED]
        asked, found = _counts(queries, terms), _counts(documents, terms)
        lengths = np.array([len(document) for document in documents])
        norm = self._bm25.k1 * (1 - self._bm25.b + self._bm25.b * lengths / self._average)
        shares = np.divide(found, found + norm[:, None], out=np.zeros_like(found), where=found > 0)
        known = np.minimum(terms, len(self._idf) - 1)
        idf = np.where(terms < len(self._idf), self._idf[known], self._unknown)
        scores: NDArray[np.float32] = ((asked * idf) @ shares.T).astype(np.float32)
        return scores


def _counts(texts: Sequence[Int32], terms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Count each of the terms, which are sorted, in each text: (texts, terms)."""
    counts = np.zeros((len(texts), len(terms)))
    if not len(terms):
        return counts
    tokens = np.concatenate([np.empty(0, np.int32), *texts])
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    places = np.minimum(np.searchsorted(terms, tokens), len(terms) - 1)
    there = terms[places] == tokens
    np.add.at(counts, (owners[there], places[there]), 1)
    return counts
