"""The lexical leg: tantivy finds candidates, the forward index scores them with any k1 and b, exactly as Lucene does.

score = Σ over the query's terms of ln(1 + (N - n + .5) / (n + .5)) · f / (f + k1 · (1 - b + b · length / average)),
with the length rounded down to what fits Lucene's one byte. There is no factor k1 + 1: this is OpenSearch 3's scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.search.forward import ForwardIndex
from hybrid_search.engines.embedded.search.ranking import ScoredRows, best, joined
from hybrid_search.engines.embedded.search.tantivy_index import TantivyIndex
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.settings.index import Bm25

__all__ = ["LexicalLeg", "lucene_length"]

_TANTIVY = Bm25(k1=1.2, b=0.75)
_MORE = 200
"""With 3 k + 200 candidates the best k are at least .998 of the exact ones for every k1 and b that is fitted."""

_SPARE = 16
"""Candidates fetched beyond k, so that a short run of ties at the cut does not need another search."""

_MOST_TIES = 20_000
_PRECISION = 1e-5
_NOISE = 2e-6
"""tantivy sums in single precision and in its own order, so equal scores can differ by this share."""


def _decoded(byte: int) -> int:
    """Decode a length from its byte: exact below 40, then with 3 bits of mantissa."""
    if byte < 24:
        return byte
    mantissa, shift = (byte - 24) & 7, ((byte - 24) >> 3) - 1
    return 24 + (mantissa if shift < 0 else (mantissa | 8) << shift)


_LENGTHS = np.array([_decoded(byte) for byte in range(256)], np.int64)


def lucene_length(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round lengths down as Lucene's one-byte encoding does, (n,) -> (n,)."""
    return _LENGTHS[np.searchsorted(_LENGTHS, lengths, side="right") - 1]


class LexicalLeg:
    """Lexical search: BM25 over titles and texts."""

    def __init__(
        self, index: TantivyIndex, forward: ForwardIndex, store: Store, terms_of: Callable[[str], list[str]]
    ) -> None:
        self.index = index
        self.forward = forward
        self._ids = store.row_ids
        self._terms_of = terms_of

    def search(self, text: str, k: int, allowed: RowFilter | None, bm25: Bm25) -> ScoredRows:
        """Return the k documents with the highest BM25 scores; none for a text without known terms."""
        # A lone surrogate has no UTF-8 form; its replacement separates words.
        terms = self._terms_of(text if text.isascii() else text.encode("utf-8", "replace").decode())
        if not terms or (allowed is not None and not allowed.count):
            return ScoredRows()
        # tantivy's order is exact for its own k1 and b only; for others, more candidates are fetched and scored again.
        limit = k + _SPARE if bm25 == _TANTIVY else _MORE + 3 * k
        while True:
            rows, found = self.index.search(terms, limit, allowed)
            rows = rows[rows < self.forward.end]
            if not len(rows):
                return ScoredRows()
            if bm25 == _TANTIVY and self.forward.is_gapless and len(rows) == len(found):
                scores = joined(found, _NOISE) / (_TANTIVY.k1 + 1)
            else:
                scores = self._scores(rows, terms, bm25)
                order = (-scores).argsort(kind="stable")
                rows, scores = rows[order], scores[order]
            if len(found) < limit or limit >= max(_MOST_TIES, k + _SPARE) or not _tied_at_end(found, k):
                return best(rows, scores, k, self._ids)
            limit = min(4 * limit, max(_MOST_TIES, k + _SPARE))

    def matching(self, text: str, allowed: RowFilter | None) -> NDArray[np.int64]:
        """Return all documents with a term of the text, in no particular order."""
        terms = self._terms_of(text if text.isascii() else text.encode("utf-8", "replace").decode())
        if not terms:
            return np.empty(0, np.int64)
        rows, _ = self.index.search(terms, max(1, self.index.count()), allowed)
        rows = rows[rows < self.forward.end]
        return rows[self._ids.there(rows)] if len(rows) else rows

    def _scores(self, rows: NDArray[np.int64], terms: list[str], bm25: Bm25) -> NDArray[np.float64]:
        repeats = Counter(terms)
        counts = self.forward.counts(rows, list(repeats))
        lengths = lucene_length(self.forward.lengths(rows))
        weights = np.array([times * self._idf(term) for term, times in repeats.items()])
        norm = bm25.k1 * (1 - bm25.b + bm25.b * lengths / self.forward.average_length)
        # With k1 = 0, a term that does not occur gives 0/0.
        shares = np.divide(counts, counts + norm, out=np.zeros_like(counts), where=counts > 0)
        # Not a matrix product, which may round equal columns differently and so break ties by chance.
        scores: NDArray[np.float64] = (weights[:, None] * shares).sum(axis=0)
        return scores

    def _idf(self, term: str) -> float:
        frequency = self.index.document_frequency(term)
        # A deleted document may still be counted in one of the two numbers.
        total = max(self.forward.documents, frequency)
        return math.log(1 + (total - frequency + 0.5) / (frequency + 0.5))


def _tied_at_end(scores: NDArray[np.float64], k: int) -> bool:
    """Return whether candidates beyond those fetched may have the k-th score (tantivy sums in single precision)."""
    return len(scores) > k and bool(scores[-1] >= scores[k - 1] * (1 - _PRECISION))
