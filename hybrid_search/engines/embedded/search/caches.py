"""The caches of an index: checked and repaired when it is opened, updated at each commit."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from hybrid_search.analysis import analyzer
from hybrid_search.engines.embedded.search.bm25 import LexicalLeg
from hybrid_search.engines.embedded.search.dense import DenseLeg
from hybrid_search.engines.embedded.search.forward import ForwardIndex
from hybrid_search.engines.embedded.search.tantivy_index import TantivyIndex
from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.manifest import Manifest
from hybrid_search.engines.embedded.store.store import Store, column
from hybrid_search.errors import CorruptIndex, HybridSearchError, StorageError
from hybrid_search.settings.index import IndexSettings

__all__ = ["Caches"]

_LOG = logging.getLogger(__name__)

_ATTEMPTS = 5


class _Cache(Protocol):
    folder: Path
    manifest: Manifest

    def problems(self, manifest: Manifest, *, contents: bool) -> list[str]: ...

    def load(self, manifest: Manifest) -> None: ...

    def reset(self) -> None: ...


class Caches:
    """The caches of one store: tantivy and the forward index (lexical leg), FAISS (dense leg)."""

    def __init__(self, layout: Layout, store: Store, settings: IndexSettings) -> None:
        terms = analyzer(settings.analyzer)
        self._layout = layout
        self._store = store
        self._tantivy = TantivyIndex(layout.lexical, terms)
        self._forward = ForwardIndex(layout.forward, terms)
        self.lexical = LexicalLeg(self._tantivy, self._forward, store, terms)
        self.dense = DenseLeg(layout.dense, settings, store)
        self._rebuilt = False

    @property
    def generation(self) -> int:
        """The generation of the store that both legs have reached."""
        return min(self.lexical.generation, self.dense.generation)

    @property
    def is_settled(self) -> bool:
        """Whether the lexical caches were loaded while nobody was writing them, and nobody had been killed doing so."""
        return self._tantivy.manifest.clean

    def check_and_repair(self, *, contents: bool) -> None:
        """Load each cache, rebuild damaged ones and add missing rows. Requires the writer lock.

        :param contents: compare checksums, not only sizes.
        :raises CorruptIndex: if a cache is ahead of the store, which means that the store has lost commits.
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
        self.follow(saving=True)

    def follow(self, *, saving: bool = False) -> None:
        """Follow the store in both legs. Requires the writer lock.

        :param saving: bring the tail into the lexical caches, however short it is.

        If a cache's number of documents then differs from the store's, it is rebuilt, once per opening.

        :raises StorageError: if a cache can't be written; the store is unchanged and the next call continues.
        """
        self._sync(saving=saving)
        if (found := self._disagreeing()) and not self._rebuilt:
            self._rebuilt = True  # only once, in case rebuilding does not help
            for caches, problem in found:
                _LOG.warning("%s: %s; built again from the documents", self._layout.folder, problem)
                for cache in caches:
                    cache.reset()
            self._sync(saving=True)
        self.dense.save_if_due()

    def _sync(self, *, saving: bool) -> None:
        generation = self._store.state().generation
        if not (saving or not self.is_settled or not self.lexical.sync()):
            if self.dense.generation < generation:
                self.dense.sync()
            return
        # The vectors beside the rest, as most of their work is done outside of Python.
        with ThreadPoolExecutor(1, "follow") as beside:
            dense = beside.submit(self.dense.sync) if self.dense.generation < generation else None
            # The forward index first, because it must contain every row that tantivy finds.
            for cache in (self._forward, self._tantivy):
                if cache.manifest.generation < generation or not cache.manifest.clean or not cache.manifest.files:
                    cache.sync(self._store)
        if dense:
            dense.result()
        self.lexical.sync()

    def save(self) -> None:
        """Save both legs as they are now, with nothing left in the tail. Requires the writer lock.

        A failure is logged: nothing is lost, and the next opening makes it good.
        """
        try:
            if self._store.state().generation > self._tantivy.manifest.generation:
                self.follow(saving=True)
        except HybridSearchError as error:
            _LOG.warning("%s: what was added last could not be saved for search (%s)", self._layout.folder, error)
        self.dense.save()

    def load_as_is(self, *, contents: bool = False) -> None:
        """Load each cache read-only: another process is writing and has checked them, or the folder is read-only.

        :param contents: compare checksums, not only sizes.
        :raises StorageError: if a cache can't be read at the moment.
        """
        for cache in self._all():
            problem = _load_steady(cache, contents=contents)
            # The dense leg can be rebuilt in memory.
            if problem and cache is not self.dense:
                raise StorageError(
                    f"{cache.folder} can't be used ({problem}), nor built again just now: another process is writing "
                    f"to the index (try again when it is done), or it can't be written (free some space, or open it "
                    f"as a user who may write)"
                )
            if problem:
                cache.reset()
        self.lexical.sync()
        self.dense.sync()

    def reload(self) -> None:
        """Load what another process has committed. Must not run during a search.

        :raises StorageError: if a cache can't be read.
        """
        for cache in (self._tantivy, self._forward):
            manifest, known = Manifest.read(cache.folder), cache.manifest
            if manifest is None or (manifest.generation, manifest.clean) <= (known.generation, known.clean):
                continue
            if problem := _load_steady(cache, contents=False):
                raise StorageError(f"{cache.folder}: {problem}; open the index again")
        self.lexical.sync()
        if self.dense.generation < self._store.state().generation:
            self.dense.sync()

    def problems(self) -> list[str]:
        """Compare every cache file with its checksum."""
        return [problem for cache in self._all() for problem in cache.problems(cache.manifest, contents=True)]

    def damage(self) -> list[str]:
        """Load each cache and return its problems, without repairing it.

        A cache that is merely behind the store is no problem: the next opening adds the missing rows.
        """
        state = self._store.state()
        found = []
        for cache in self._all():
            # Vectors are saved at the latest by a clean close, which also writes the seal.
            due = state.generation and (cache is not self.dense or (state.vectors and self._layout.seal.exists()))
            if not cache.folder.exists() and not due:
                continue
            manifest = Manifest.read(cache.folder)
            if manifest is not None and manifest.generation > state.generation:
                found.append(f"{cache.folder} is ahead of the documents: some that were committed are missing")
            elif problem := _load(cache, manifest, contents=True):
                found.append(f"{cache.folder}: {problem}")
        if not found and self.generation == state.generation:
            try:
                found = self.miscounts() or self.strays()
            except StorageError as error:
                found = [str(error)]
        return found

    def miscounts(self) -> list[str]:
        """Compare the number of documents in each leg with the store's."""
        return [problem for _, problem in self._disagreeing()]

    def _disagreeing(self) -> list[tuple[tuple[_Cache, ...], str]]:
        state = self._store.state()
        lexical: tuple[_Cache, ...] = (self._forward, self._tantivy)
        found = []
        if (count := self.lexical.count()) != state.documents:
            found.append((lexical, f"the lexical leg finds {count} documents instead of {state.documents}"))
        saved = self._forward.manifest
        end = state.next_row if saved.generation == state.generation else saved.last_row + 1
        if not found and self._forward.end != end:
            found.append((lexical, f"the forward index ends at row {self._forward.end}, not at {end}"))
        if (count := self.dense.count()) != state.vectors:
            found.append(((self.dense,), f"the dense leg finds {count} documents instead of {state.vectors}"))
        return found

    def strays(self) -> list[str]:
        """Compare the rows in each leg with the store's, one by one."""
        with self._store.database.reading() as connection:
            documents = column(connection, "SELECT row FROM documents")
            vectors = column(connection, "SELECT row FROM vectors")
        compared = (("lexical", self.lexical.rows(), documents), ("dense", self.dense.rows(), vectors))
        return [
            f"the {leg} leg lacks {len(np.setdiff1d(expected, rows))} documents, and finds "
            f"{len(rows) - len(np.intersect1d(rows, expected))} that are not there"
            for leg, rows, expected in compared
            if not np.array_equal(np.sort(rows), np.sort(expected))
        ]

    def _all(self) -> tuple[_Cache, ...]:
        # tantivy before the forward index: another process may write in between, and rows found need their terms.
        return self._tantivy, self._forward, self.dense


def _load_steady(cache: _Cache, *, contents: bool) -> str:
    """Load a cache that another process may be writing: again, if its manifest changed meanwhile; as :func:`_load`."""
    manifest = Manifest.read(cache.folder)
    for _ in range(_ATTEMPTS):
        problem = _load(cache, manifest, contents=contents)
        before, manifest = manifest, Manifest.read(cache.folder)
        if manifest == before:
            break
    return problem


def _load(cache: _Cache, manifest: Manifest | None, *, contents: bool) -> str:
    """Load a cache; return its problem, or an empty string."""
    if manifest is None:
        return "its manifest is missing or damaged"
    found = cache.problems(manifest, contents=contents)
    if found:
        return "; ".join(found)
    try:
        cache.load(manifest)
    except Exception as error:  # of any class: tantivy, FAISS or numpy raise it for an unreadable file
        return f"it can't be read ({type(error).__name__}: {error})"
    return ""
