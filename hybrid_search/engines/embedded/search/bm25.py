"""The lexical leg: tantivy finds candidates, the forward index scores them with any k1 and b, exactly as Lucene does.

score = Σ over the query's terms of ln(1 + (N - n + .5) / (n + .5)) · f / (f + k1 · (1 - b + b · length / average)),
with the length rounded down to what fits Lucene's one byte. There is no factor k1 + 1: this is OpenSearch 3's scale.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_search.analysis import Analyzer, asked_terms
from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.search.forward import ForwardIndex
from hybrid_search.engines.embedded.search.ranking import Rows, ScoredRows, best, joined
from hybrid_search.engines.embedded.search.tail import Tail
from hybrid_search.engines.embedded.search.tantivy_index import TantivyIndex, sifted
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.settings.index import Bm25

__all__ = ["LexicalLeg", "lucene_length"]

_TANTIVY = Bm25(k1=1.2, b=0.75)
_MORE = 200
"""With 3 k + 200 candidates the best k are at least .998 of the exact ones for every k1 and b that is fitted."""

_SPARE = 16
"""Candidates fetched beyond k, so that a short run of ties at the cut does not need another search."""

_FEW = 0.7
"""Documents that take as long to score from the forward index as one more of tantivy's takes to fetch."""

_MOST_SCORED = 500_000
"""Documents times terms that are scored at once, as memory grows with both."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The different terms of a query.

    :ivar weights: (n,) each one's idf, as many times as it was asked for.
    :ivar grown: how much larger the weights are than by the statistics of the caches alone, in all.
    """

    terms: list[str]
    weights: NDArray[np.float64]
    grown: float


class LexicalLeg:
    """Lexical search: BM25 over titles and texts, in the caches and the tail as if they were one index."""

    def __init__(self, index: TantivyIndex, forward: ForwardIndex, store: Store, analyzer: Analyzer) -> None:
        self._index = index
        self._forward = forward
        self._store = store
        self._tail = Tail(analyzer.terms_of())
        self._asked = asked_terms(analyzer)

    def sync(self) -> bool:
        """Follow the store in memory; return False if so much is missing that the caches must follow.

        :raises CorruptIndex: if a stored text fails its checksum.
        """
        return self._tail.sync(self._store, self._index.manifest, self._forward)

    @property
    def generation(self) -> int:
        """The generation of the store that is searched."""
        saved = min(self._index.manifest.generation, self._forward.manifest.generation)
        return self._tail.generation if self._tail.continues(self._index.manifest) else saved

    @property
    def average_length(self) -> float:
        """Terms per document; 1 if there is no document, because it is used as a divisor."""
        return self._tail.terms / self._tail.documents if self._tail.documents and self._tail.terms else 1.0

    def count(self) -> int:
        """Return how many documents can be found."""
        return self._index.count() - len(self._tail.dead) + len(self._tail.rows)

    def rows(self) -> Rows:
        """Return the rows that can be found, (n,), in no particular order."""
        early = self._index.rows()
        return np.concatenate([early[self._is_here(early)], self._tail.rows])

    def search(self, text: str, k: int, allowed: RowFilter | None, bm25: Bm25) -> ScoredRows:
        """Return the k documents with the highest BM25 scores; none for a text without known terms."""
        terms = self._terms_of(text)
        if not terms or (allowed is not None and not allowed.count):
            return ScoredRows()
        # tantivy's order is exact for its own k1 and b only; for others, more candidates are fetched and scored again.
        limit = (k + _SPARE if bm25 == _TANTIVY else _MORE + 3 * k) + len(self._tail.dead)
        most = max(_MOST_TIES, k + _SPARE)
        # Its scores are exact, too, as long as its statistics are those of the whole index.
        is_whole = bm25 == _TANTIVY and self._tail.is_empty and self._forward.is_gapless
        if allowed is not None and self._are_few(allowed, terms, limit):
            rows, scores = self._ranked(self._passing(allowed), self._weighed(terms), allowed, bm25)
            return best(rows[scores > 0], scores[scores > 0], k, self._store.row_ids)
        asked = None if is_whole else self._weighed(terms)
        while True:
            rows, found = self._index.search(terms, limit, allowed)
            is_all = len(rows) < limit
            if not (here := self._is_here(rows)).all():
                # What is gone must not count among the k: beyond it others may tie at the cut.
                rows, found = rows[here], found[here]
                asked = asked or self._weighed(terms)
            if asked is None:
                scores = joined(found, _NOISE) / (_TANTIVY.k1 + 1)
            else:
                rows, scores = self._ranked(rows, asked, allowed, bm25)
            if is_all or limit >= most or self._is_settled(k, found, scores, asked, bm25):
                return best(rows, scores, k, self._store.row_ids)
            limit = min(4 * limit, most)

    def _are_few(self, allowed: RowFilter, terms: list[str], limit: int) -> bool:
        """Return whether to score all documents that pass costs less than to find those that match, too."""
        fetched = min(sifted(limit, allowed), sum(self._index.frequencies(set(terms))))
        return allowed.count <= _FEW * fetched and allowed.count * len(set(terms)) <= _MOST_SCORED

    def _passing(self, allowed: RowFilter) -> Rows:
        """Return the rows of the caches that pass a filter; some may be gone."""
        rows: Rows = allowed.derive("rows", lambda: np.flatnonzero(allowed.mask))
        return rows[self._is_here(rows)]

    def matching(self, text: str, allowed: RowFilter | None) -> Rows:
        """Return all documents with a term of the text, in no particular order."""
        terms = self._terms_of(text)
        if not terms:
            return np.empty(0, np.int64)
        early = self._index.search(terms, max(1, self._index.count()), allowed)[0]
        rows = np.concatenate([early[self._is_here(early)], self._tail.matching(terms, allowed)[0]])
        return rows[self._store.row_ids.there(rows)] if len(rows) else rows

    def _terms_of(self, text: str) -> list[str]:
        # A lone surrogate has no UTF-8 form; its replacement separates words.
        return self._asked(text if text.isascii() else text.encode("utf-8", "replace").decode())

    def _is_here(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows of tantivy's are not in the tail, too, nor known there to be gone: (n,) -> (n,)."""
        inside = rows < self._forward.end
        return inside if self._tail.is_empty else inside & ~self._tail.hides(rows)

    def _weighed(self, terms: list[str]) -> _Asked:
        times = Counter(terms)
        here = self._index.frequencies(times)
        everywhere = [known + self._tail.frequency(term) for known, term in zip(here, times, strict=True)]
        # A deleted document may still be counted in one of the two numbers.
        idfs = [_idf(max(self._tail.documents, frequency), frequency) for frequency in everywhere]
        documents = self._index.count()
        grown = [
            max(0.0, idf - _idf(max(documents, frequency), frequency)) if frequency else 0.0
            for idf, frequency in zip(idfs, here, strict=True)
        ]
        repeats = np.array(list(times.values()), np.float64)
        return _Asked(list(times), repeats * idfs, float(repeats @ grown))

    def _ranked(
        self, early: Rows, asked: _Asked, allowed: RowFilter | None, bm25: Bm25
    ) -> tuple[Rows, NDArray[np.float64]]:
        """Score candidates of the caches and the documents of the tail; best first."""
        late, late_counts = self._tail.matching(asked.terms, allowed)
        rows = np.concatenate([early, late])
        counts = np.concatenate([self._forward.counts(early, asked.terms), late_counts], axis=1)
        lengths = np.concatenate([self._forward.lengths(early), self._tail.lengths_of(late)])
        norm = bm25.k1 * (1 - bm25.b + bm25.b * lucene_length(lengths) / self.average_length)
        # With k1 = 0, a term that does not occur gives 0/0.
        shares = np.divide(counts, counts + norm, out=np.zeros_like(counts), where=counts > 0)
        # Not a matrix product, which may round equal columns differently and so break ties by chance.
        scores: NDArray[np.float64] = (asked.weights[:, None] * shares).sum(axis=0)
        order = (-scores).argsort(kind="stable")
        return rows[order], scores[order]

    def _is_settled(
        self, k: int, found: NDArray[np.float64], scores: NDArray[np.float64], asked: _Asked | None, bm25: Bm25
    ) -> bool:
        """Return whether no document beyond the candidates can be among the best k, or tie with the last of them.

        tantivy ranks by the statistics of the caches. By those of the whole index, a document that it did not return
        scores at most what the last one did, plus what the idfs have grown by, times what the average length has.
        """
        if asked is None or self._tail.is_empty or bm25 != _TANTIVY:
            return not _tied_at_end(found, k)
        if not len(found):
            return False
        longer = max(1.0, self.average_length * self._index.count() / max(1, self._forward.terms))
        most = longer * (found[-1] / (_TANTIVY.k1 + 1) + asked.grown)
        return len(scores) >= k and bool(scores[k - 1] > most * (1 + _PRECISION))


def _idf(documents: int, frequency: int) -> float:
    return math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))


def _tied_at_end(scores: NDArray[np.float64], k: int) -> bool:
    """Return whether candidates beyond those fetched may have the k-th score (tantivy sums in single precision)."""
    return len(scores) > k and bool(scores[-1] >= scores[k - 1] * (1 - _PRECISION))
