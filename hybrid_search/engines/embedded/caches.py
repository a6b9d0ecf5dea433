"""The caches of one index together: checked and repaired at opening, brought up to date at each commit."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from hybrid_search.analysis import analyzer, asked_terms
from hybrid_search.engines.embedded.bm25 import LexicalLeg
from hybrid_search.engines.embedded.dense import DenseLeg
from hybrid_search.engines.embedded.forward import ForwardIndex
from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.engines.embedded.manifest import Manifest
from hybrid_search.engines.embedded.store import Store, column
from hybrid_search.engines.embedded.tantivy_index import TantivyIndex
from hybrid_search.errors import CorruptIndex, StorageError
from hybrid_search.settings.index import IndexSettings

__all__ = ["POLL", "Caches", "Lag"]


_LOG = logging.getLogger(__name__)


class _Cache(Protocol):
    folder: Path
    manifest: Manifest

    def problems(self, manifest: Manifest, *, contents: bool) -> list[str]: ...

    def load(self, manifest: Manifest) -> None: ...

    def reset(self) -> None: ...


class Caches:
    """tantivy and the forward index (the lexical leg) and FAISS (the dense leg), following one store."""

    def __init__(self, layout: Layout, store: Store, settings: IndexSettings) -> None:
        terms = analyzer(settings.analyzer)
        self._layout = layout
        self._store = store
        self._tantivy = TantivyIndex(layout.lexical, terms)
        self._forward = ForwardIndex(layout.forward, terms.terms_of())
        self.lexical = LexicalLeg(self._tantivy, self._forward, store, asked_terms(terms))
        self.dense = DenseLeg(layout.dense, settings, store)
        self._rebuilt = False

    @property
    def generation(self) -> int:
        """The store's generation up to which every leg has followed."""
        return min(self._tantivy.manifest.generation, self._forward.manifest.generation, self.dense.generation)

    def check_and_repair(self, *, contents: bool) -> None:
        """Load each cache, rebuild what is damaged and replay what is missing. For the holder of the writer's lock.

        :param contents: compare checksums, not sizes only.
        :raises CorruptIndex: if a cache is ahead of the store, so that the store has lost commits.
        :raises StorageError: if a cache can't be written.
        """
        generation = self._store.state().generation
        for cache in self._all():
            manifest = Manifest.read(cache.folder)
            if manifest is None and not cache.folder.exists():
                cache.reset()
                continue
            if manifest is not None and manifest.generation > generation:
                raise CorruptIndex(
                    f"{self._layout.database} is at generation {generation}, but {cache.folder.name} has followed it "
                    f"to {manifest.generation}: committed documents are missing; restore it, or load the data again, "
                    f"or run `hybrid-search repair {self._layout.folder}` to go on with the documents that are there"
                )
            problem = _load(cache, manifest, contents=contents)
            if problem:
                _LOG.warning("%s: %s; it is built again from the documents", cache.folder, problem)
                cache.reset()
        self.follow()

    def follow(self) -> None:
        """Bring every cache to the store's generation and save it. For the holder of the writer's lock.

        A cache that then holds another number of documents than the store is built again.

        :raises StorageError: if a cache can't be written; the store is untouched and a next call takes up the work.
        """
        self._sync()
        if (found := self._disagreeing()) and not self._rebuilt:
            self._rebuilt = True  # not again and again, should that not mend it
            for caches, problem in found:
                _LOG.warning("%s: %s; built again from the documents", self._layout.folder, problem)
                for cache in caches:
                    cache.reset()
            self._sync()
        self.dense.save_if_due()

    def _sync(self) -> None:
        generation = self._store.state().generation
        # The forward index first: every row that tantivy finds must be in it.
        for cache in (self._forward, self._tantivy):
            if cache.manifest.generation < generation or not cache.manifest.clean or not cache.manifest.files:
                cache.sync(self._store)
        if self.dense.generation < generation:
            self.dense.sync()

    def load_as_is(self, *, contents: bool = False) -> None:
        """Load each cache without changing any: a writer is at work, and has checked them, or nothing can be written.

        :param contents: compare checksums, not sizes only.
        :raises StorageError: if one can't be read just now.
        """
        for cache in self._all():
            problem = _load(cache, Manifest.read(cache.folder), contents=contents)
            # The dense leg can be built in memory.
            if problem and cache is not self.dense:
                raise StorageError(
                    f"{cache.folder} can't be used ({problem}), nor built again just now: another process is writing "
                    f"to the index (try again when it is done), or it can't be written (free some space, or open it "
                    f"as a user who may write)"
                )
            if problem:
                cache.reset()
        self.dense.sync()

    def reload(self) -> None:
        """Take over what a writer in another process has committed. Not to be called while searching.

        :raises StorageError: if a cache can't be read.
        """
        for cache in (self._tantivy, self._forward):
            manifest = Manifest.read(cache.folder)
            if manifest is not None and manifest.generation > cache.manifest.generation:
                problem = _load(cache, manifest, contents=False)
                if problem:
                    raise StorageError(f"{cache.folder}: {problem}; open the index again")
        if self.dense.generation < self._store.state().generation:
            self.dense.sync()

    def problems(self) -> list[str]:
        """Compare every cache file with its checksum."""
        return [problem for cache in self._all() for problem in cache.problems(cache.manifest, contents=True)]

    def damage(self) -> list[str]:
        """Load each cache and tell what is wrong with it, without repairing it.

        A cache that is only behind the documents is sound: the next opening replays what it misses.
        """
        state = self._store.state()
        found = []
        for cache in self._all():
            # Vectors are saved at the clean close that leaves a seal, or before.
            due = state.generation and (cache is not self.dense or (state.vectors and self._layout.seal.exists()))
            if not cache.folder.exists() and not due:
                continue
            manifest = Manifest.read(cache.folder)
            if manifest is not None and manifest.generation > state.generation:
                found.append(f"{cache.folder} is ahead of the documents: some that were committed are missing")
            elif problem := _load(cache, manifest, contents=True):
                found.append(f"{cache.folder}: {problem}")
        if not found and self.generation == state.generation:
            found = self.miscounts() or self.strays()
        return found

    def miscounts(self) -> list[str]:
        """Compare the number of documents that each leg finds with the store's."""
        return [problem for _, problem in self._disagreeing()]

    def _disagreeing(self) -> list[tuple[tuple[_Cache, ...], str]]:
        state = self._store.state()
        lexical: tuple[_Cache, ...] = (self._forward, self._tantivy)
        found = []
        if (count := self._tantivy.count()) != state.documents:
            found.append((lexical, f"the lexical leg finds {count} documents instead of {state.documents}"))
        elif self._forward.end != state.next_row:
            found.append((lexical, f"the forward index ends at row {self._forward.end}, not at {state.next_row}"))
        if (count := self.dense.count()) != state.vectors:
            found.append(((self.dense,), f"the dense leg finds {count} documents instead of {state.vectors}"))
        return found

    def strays(self) -> list[str]:
        """Compare the rows that each leg finds with the store's, one by one."""
        with self._store.database.reading() as connection:
            documents = column(connection, "SELECT row FROM documents")
            vectors = column(connection, "SELECT row FROM vectors")
        compared = (("lexical", self._tantivy.rows(), documents), ("dense", self.dense.rows(), vectors))
        return [
            f"the {leg} leg lacks {len(np.setdiff1d(expected, rows))} documents, and finds "
            f"{len(rows) - len(np.intersect1d(rows, expected))} that are not there"
            for leg, rows, expected in compared
            if not np.array_equal(np.sort(rows), np.sort(expected))
        ]

    def _all(self) -> tuple[_Cache, ...]:
        # tantivy before the forward index: a writer at work may come between, and rows found must have their terms.
        return self._tantivy, self._forward, self.dense


def _load(cache: _Cache, manifest: Manifest | None, *, contents: bool) -> str:
    """Load a cache; returns what is wrong with it, empty when nothing is."""
    if manifest is None:
        return "its manifest is missing or damaged"
    found = cache.problems(manifest, contents=contents)
    if found:
        return "; ".join(found)
    try:
        cache.load(manifest)
    except Exception as error:  # whatever tantivy, FAISS or numpy raise over a file they can't read
        return f"it can't be read ({type(error).__name__}: {error})"
    return ""


POLL = 0.005
"""Seconds between two searches of one that waits."""

_PATIENCE = 10.0


class Lag:
    """Between another process's commit and its caches the rows that it replaced are found nowhere.

    The old ones are gone from the store, the new ones not yet in the caches. Safe in any thread without a lock: the one
    number that is kept only grows, and a thread that overwrites a larger one with its own waits once more.
    """

    def __init__(self, store: Store, caches: Caches) -> None:
        self._store = store
        self._caches = caches
        self._given_up = 0

    def hides(self, since: float) -> bool:
        """Return whether a search that ended just now may have missed a document, and is to be made again.

        A writer that takes longer than some seconds is not waited for, and that is logged.

        :param since: of ``time.monotonic``, when the search began.
        """
        reached, newest = self._caches.generation, self._store.state().generation
        if newest <= max(reached, self._given_up) or not self._store.lost_since(reached):
            return False
        if time.monotonic() - since > _PATIENCE:
            self._given_up = newest
            _LOG.warning("%s: a commit takes long; what it replaces is missing until then", self._store.layout.folder)
            return False
        return True
