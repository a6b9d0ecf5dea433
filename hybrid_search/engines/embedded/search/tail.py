"""The tail: documents and deletions of small commits that the lexical caches lack as yet, in memory.

A commit of tantivy takes a tenth of a second, for one document as for thousands. The store has them durably, so each
process reads its own tail from there, and the writer brings many at a time into the caches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.search.forward import ForwardIndex
from hybrid_search.engines.embedded.store.manifest import Manifest
from hybrid_search.engines.embedded.store.store import Rows, Store, read_state

__all__ = ["Tail"]

MOST = 256
"""Rows added, and rows deleted, at most: a process that opens the index reads so many in hundredths of a second."""


class Tail:
    """The rows after the last one in tantivy, with their terms, and those that tantivy finds although they are gone.

    Changes and searches must not overlap; the engine ensures that.

    :ivar generation: of the store, which is reached together with the caches.
    :ivar rows: (n,) ascending.
    :ivar dead: (m,) rows that tantivy finds.
    :ivar is_empty: whether the caches are complete without it.
    :ivar documents: existing documents with terms, in the caches and here.
    :ivar terms: how many terms they have.
    """

    def __init__(self, terms_of: Callable[[str], list[str]]) -> None:
        self._terms_of = terms_of
        self._base: tuple[int, int] | None = None
        self.documents = self.terms = 0
        self._start(0, 0)

    def _start(self, generation: int, last_row: int) -> None:
        self.generation, self._last_row = generation, last_row
        self._counts: dict[int, Counter[str]] = {}
        self._postings: dict[str, dict[int, int]] = {}
        self._arrange(np.empty(0, np.int64))

    def _arrange(self, dead: Rows) -> None:
        self.dead = dead
        self.rows: Rows = np.array(sorted(self._counts), np.int64)
        self._hidden: Rows = np.sort(np.concatenate([self.dead, self.rows]))
        self.is_empty = not len(self._hidden)
        self._position = {row: position for position, row in enumerate(self.rows.tolist())}
        self._lengths = np.array([self._counts[row].total() for row in self.rows.tolist()], np.int64)

    def continues(self, index: Manifest) -> bool:
        """Return whether it begins where tantivy ends."""
        return self._base == (index.generation, index.last_row)

    def sync(self, store: Store, index: Manifest, forward: ForwardIndex) -> bool:
        """Follow the store; return False, and do nothing, if the caches lack so much that they must follow themselves.

        :param index: tantivy's.
        :raises CorruptIndex: if a stored text fails its checksum.
        """
        if not self.continues(index):
            self._base = (index.generation, index.last_row)
            self._start(*self._base)
            self.documents, self.terms = forward.documents, forward.terms
        with store.database.reading() as connection:
            state = read_state(connection)
            dead = store.gone_since(connection, index.generation, index.last_row)
            if state.next_row - 1 - index.last_row > MOST or len(dead) > MOST:
                return False
            gone = store.gone_since(connection, self.generation, self._last_row)
            added = list(store.texts_after(connection, self._last_row))
            # Another process that is bringing it into the caches begins with the forward index.
            late = forward.manifest.last_row
            since = store.gone_since(connection, forward.manifest.generation, late)
            lost = forward.lengths(since[since < forward.end])
        for row in self._counts.keys() & set(gone.tolist()):
            self._remove(row)
        for row, text in added:
            self._add(row, text)
        self._arrange(dead)
        lengths = self._lengths[self.rows > late]
        self.documents = forward.documents + int(np.count_nonzero(lengths)) - int(np.count_nonzero(lost))
        self.terms = forward.terms + int(lengths.sum()) - int(lost.sum())
        self.generation, self._last_row = state.generation, state.next_row - 1
        return True

    def _add(self, row: int, text: str) -> None:
        counts = self._counts[row] = Counter(self._terms_of(text))
        for term, count in counts.items():
            self._postings.setdefault(term, {})[row] = count

    def _remove(self, row: int) -> None:
        for term in self._counts.pop(row):
            del self._postings[term][row]

    def matching(self, terms: Sequence[str], allowed: RowFilter | None) -> tuple[Rows, NDArray[np.float64]]:
        """Return the rows with one of the terms that pass the filter, (n,), and each term's counts: (terms, n)."""
        counts = np.zeros((len(terms), len(self.rows)))
        for number, term in enumerate(terms):
            for row, count in self._postings.get(term, {}).items():
                counts[number, self._position[row]] = count
        matching = counts.any(axis=0)
        if allowed is not None:
            matching &= allowed.passes(self.rows)
        return self.rows[matching], counts[:, matching]

    def hides(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows of tantivy's are gone, or are here, too: (n,) -> (n,). Not to be asked if it is empty."""
        found = np.searchsorted(self._hidden, rows)
        hides: NDArray[np.bool_] = self._hidden.take(found, mode="clip") == rows
        return hides

    def lengths_of(self, rows: Rows) -> NDArray[np.int64]:
        """Return the lengths of some of the rows in terms, (n,)."""
        return self._lengths[np.searchsorted(self.rows, rows)]

    def frequency(self, term: str) -> int:
        """Return the number of rows with a term."""
        return len(self._postings.get(term, ()))
