"""The embedded engine: an index in a folder, with one writer, many readers, both legs and their fusion."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.documents import ids_of
from hybrid_search.engines.embedded import lifecycle
from hybrid_search.engines.embedded.search.caches import Caches
from hybrid_search.engines.embedded.search.committed import CommittedState
from hybrid_search.engines.embedded.search.facets import Counter
from hybrid_search.engines.embedded.search.ranking import (
    Page,
    grouped_hits,
    grouped_ranking,
    hits_of,
    ranking_of,
)
from hybrid_search.engines.embedded.search.searcher import Searcher
from hybrid_search.engines.embedded.store.checks import miscounts, seal, store_problems
from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.locks import WriterLock
from hybrid_search.engines.embedded.store.own_files import copy_model, model_folder
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.engines.embedded.store.writing import StoreWriter
from hybrid_search.errors import StorageError, UsageError
from hybrid_search.filters import Exists, check_filter
from hybrid_search.protocols import Capabilities, Vectors
from hybrid_search.search import Search, checked_vectors
from hybrid_search.settings.index import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.tracing import database
from hybrid_search.types import Document, Hit, Matches, Ranking, Rejection

__all__ = ["EmbeddedEngine"]

_VERSION = "1"


class EmbeddedEngine:
    """An index in a folder. Every method is safe in any thread, but not in a process forked after it was opened.

    Made by :meth:`create` or :meth:`open`. A search sees everything committed before it, by this process or another.
    While another process commits, one leg may see the commit slightly before the other.

    Each call to :meth:`add` or :meth:`delete` is applied whole or not at all, independent of other threads. A commit
    includes the changes of all threads.
    """

    def __init__(self, parts: lifecycle.Opened) -> None:
        self._layout: Layout = parts.layout
        self._store: Store = parts.store
        self._lock: WriterLock | None = parts.lock
        self._caches: Caches = parts.caches
        self._committed = CommittedState(parts.store, parts.caches, writes=parts.lock is not None)
        self._writer = StoreWriter(parts.store.database, self._committed.settings) if parts.lock else None
        self._searcher = Searcher(parts.layout.folder, parts.store, parts.caches.lexical, parts.caches.dense)
        self._counter = Counter(parts.store)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a folder contains an index; an unfinished one that a crash left does not count."""
        return lifecycle.is_finished(Layout(Path(folder)))

    @classmethod
    def create(cls, folder: Path, settings: IndexSettings, *, exist_ok: bool = False) -> Self:
        """Create an index and open it to write.

        :param exist_ok: if an index with the same settings exists, open it (it may have declared more fields since).
        :raises IndexExists: if there is an index, or with ``exist_ok`` one with other settings.
        :raises ConfigError: if a setting is unknown.
        :raises IndexLocked: if another process is writing.
        """
        return cls(lifecycle.create(Layout(Path(folder).resolve()), settings, exist_ok=exist_ok))

    @classmethod
    def open(cls, folder: Path, *, writable: bool = False) -> Self:
        """Open an existing index; caches that a crash left incomplete are completed first.

        :raises IndexNotFound: if there is none.
        :raises IndexLocked: if ``writable`` and another process is writing.
        :raises CorruptIndex: if the stored data fail their checksums.
        """
        opened = lifecycle.open_to_write if writable else lifecycle.open_to_read
        # What a link stands for now: it may be set to another index while this one is open.
        return cls(opened(Layout(Path(folder).resolve())))

    @staticmethod
    def drop(folder: Path) -> None:
        """Delete an index, even a damaged one; other files in the folder stay. Does nothing if there is no index.

        :raises IndexLocked: if another process is writing to it.
        :raises StorageError: if a file can't be removed.
        """
        lifecycle.drop(Layout(Path(folder)))

    @property
    def settings(self) -> IndexSettings:
        """The index's settings, with the fields declared so far."""
        return self._writer.settings if self._writer else self._committed.settings

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return Capabilities("embedded", _VERSION, bm25_at_query_time=True)

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Add or replace documents; see the protocol. If an id occurs twice in one call, the last document counts.

        :param vectors: (n, dimension) floats, a zero row for "no vector"; None if no document has one.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises StorageError: if the disk is full: none of the documents is added, and uncommitted changes may be lost;
            each thread whose changes were lost gets an error from its next call.
        """
        writer = self._open_writer()
        checked = checked_vectors(vectors, len(documents), self._committed.settings.dimension)
        with database("add", self._layout.folder.name, len(documents)):
            return writer.add(documents, checked)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many existed.

        :raises UsageError: if one of the ids is invalid.
        """
        writer, checked = self._open_writer(), ids_of(ids)
        with database("delete", self._layout.folder.name, len(checked)):
            return writer.delete(checked)

    def declare(self, fields: Mapping[str, FieldType]) -> None:
        """Declare further metadata fields; see the protocol."""
        self._open_writer().declare(fields)

    def set_fusion(self, fusion: Fusion, bm25: Bm25 | None = None, *, asked_for: bool = True) -> None:
        """Change the fusion in the index's settings; see the protocol."""
        self._open_writer().set_fusion(fusion, bm25, asked_for=asked_for)

    def commit(self) -> None:
        """Make the changes durable and searchable in both legs.

        :raises StorageError: if the disk is full. The message says whether the changes were kept: once SQLite has them,
            only the search caches may lag behind, until the next commit or opening.
        """
        # Exclusive from the store's commit on: a search in between would find rows whose documents are gone.
        with database("commit", self._layout.folder.name), self._committed.alone():
            writer = self._open_writer()
            writer.commit()
            self._committed.follow(writer.committed)

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch committed documents by id, None for unknown ids.

        :raises CorruptIndex: if a document fails its checksum; names it.
        :raises UsageError: if one of the ids is invalid.
        """
        self._committed.check_open()
        checked = ids_of(ids)
        with database("fetch", self._layout.folder.name, len(checked)):
            return self._store.documents(checked)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the stored vectors; see the protocol.

        :raises CorruptIndex: if one fails its checksum; names its document.
        """
        self._committed.check_open()
        return self._store.vectors(ids_of(ids))

    def documents(self) -> Iterator[Document]:
        """Iterate over the committed documents, in the order in which they were first added."""
        self._committed.check_open()
        return self._store.all_documents()

    def search(self, search: Search) -> list[list[Hit]]:
        """Answer queries with hits and their texts; see the protocol. Many queries are searched on all cores.

        :raises FilterError: if the filter does not fit the index's fields.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises UsageError: if the vectors are not one row of finite floats for each query.
        :raises UnsupportedCapability: if exact k-NN is requested and the index is a graph.
        """

        def hits(page: Page) -> list[Hit]:
            return grouped_hits(page, search, self._store) if search.group else hits_of(page, self._store)

        def answer(generation: int) -> list[list[Hit]]:
            pages = self._pages(search, generation)
            with database("fetch", self._layout.folder.name, len(pages)):
                return [hits(page) for page in pages]

        return self._committed.answered(answer)

    def rank(self, search: Search) -> list[Ranking]:
        """Answer queries with ids and scores; otherwise as :meth:`search`."""

        def ranking(page: Page) -> Ranking:
            return grouped_ranking(page, search, self._store) if search.group else ranking_of(page, self._store)

        return self._committed.answered(lambda generation: [ranking(page) for page in self._pages(search, generation)])

    def matches(self, search: Search, facets: Sequence[str] = (), most_values: int = 10) -> list[Matches]:
        """Count the documents that match each query; see the protocol. All of them are looked at."""

        def counted(generation: int) -> list[Matches]:
            settings = self._committed.settings
            for field in facets:
                check_filter(Exists(field), settings.fields)
            allowed = self._committed.passing(search.filter, generation)
            found = self._searcher.matching(search, settings, allowed)
            by_document = bool(search.group)
            return [
                self._counter.matches(rows, facets, most_values, settings.fields, generation, by_document=by_document)
                for rows in found
            ]

        with database("count", self._layout.folder.name, len(search.texts)):
            return self._committed.answered(counted)

    def store_model(self, files: Sequence[Path]) -> None:
        """Copy a model's serving files into the index, atomically.

        :raises StorageError: if they can't be copied; the model stored before stays.
        """
        with self._committed.alone():
            self._open_writer()
            copy_model(self._layout, files)

    def model_folder(self) -> Path | None:
        """The folder of the stored model's files, None if no model is stored."""
        return model_folder(self._layout)

    def count(self) -> int:
        """Count the committed documents."""
        self._committed.check_open()
        return self._store.state().documents

    def stats(self) -> Mapping[str, Any]:
        """Sizes in bytes and counts, for display."""
        with self._committed.held() as generation:
            state = self._store.state()
            return {
                "engine": "embedded",
                "generation": generation,
                "documents": state.documents,
                "vectors": state.vectors,
                "average_length": round(self._caches.lexical.average_length, 2),
                "dense": self._caches.dense.describe(),
                "bytes": self._layout.sizes(),
            }

    def verify(self) -> list[str]:
        """Check everything that is stored, reading all of it; return the problems, empty if there are none.

        :raises CorruptIndex: if the database can't be read at all.
        """
        with self._committed.held():
            return (
                store_problems(self._store) + miscounts(self._store) + self._caches.problems() + self._caches.strays()
            )

    def close(self) -> None:
        """Discard uncommitted changes, save the caches, release files and locks. Closing twice is harmless."""
        with self._committed.alone():
            if not self._committed.close():
                return
            self._searcher.close()
            try:
                self._close_writer()
            finally:
                self._store.database.close()
                if self._lock:
                    self._lock.release()

    def _close_writer(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._caches.save()
        # A full disk must not make closing fail: without a seal the next opening relies on SQLite's own recovery.
        with contextlib.suppress(StorageError):
            if self._store.database.fold_log():
                seal(self._layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_writer(self) -> StoreWriter:
        self._committed.check_open()
        if self._writer is None:
            raise UsageError(f"{self._layout.folder}: opened to read; open it with writable=True to change it")
        return self._writer

    def _pages(self, search: Search, generation: int) -> list[Page]:
        state = self._committed
        return self._searcher.pages(search, state.settings, state.passing(search.filter, generation))
