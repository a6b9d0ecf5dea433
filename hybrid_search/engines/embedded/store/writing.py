"""Changes to the store: one transaction from the first change to the commit, shared by all threads.

Each change is applied whole or not at all, independent of others in the transaction. If SQLite rolls the transaction
back (a full disk), each thread whose changes are lost gets an error from its next change or commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from sqlite3 import Connection, Error
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.documents import check_declared, sift
from hybrid_search.engines.embedded.store.checks import note_committed
from hybrid_search.engines.embedded.store.database import Database, sqlite_errors
from hybrid_search.engines.embedded.store.layout import FORMAT_VERSION, Layout
from hybrid_search.engines.embedded.store.store import (
    State,
    counts,
    decode_metadata,
    encode_metadata,
    field_values,
    read_state,
    text_checksum,
    vector_checksum,
)
from hybrid_search.errors import StorageError, UsageError
from hybrid_search.settings.index import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection

__all__ = ["StoreWriter", "create_store", "recount"]

_CHUNK = 500


def create_store(database: Database, settings: IndexSettings) -> None:
    """Create an empty store; durable when this returns."""
    database.create_tables()
    values = {
        "format_version": FORMAT_VERSION,
        "settings": settings.to_json().decode(),
        "generation": 0,
        "next_row": 1,
        "documents": 0,
        "vectors": 0,
    }
    with sqlite_errors(database.path):
        database.writer.execute("BEGIN IMMEDIATE")
        _set_meta(database.writer, values)
        database.writer.execute("COMMIT")


def recount(database: Database) -> None:
    """Record the counts of existing rows, as the next generation; durable when this returns."""
    with sqlite_errors(database.path):
        connection = database.writer
        connection.execute("BEGIN IMMEDIATE")
        for table in ("vectors", "fields"):
            connection.execute(f"DELETE FROM {table} WHERE row NOT IN (SELECT row FROM documents)")
        state, counted = read_state(connection), counts(connection)
        values = {
            "generation": state.generation + 1,
            "next_row": max(state.next_row, counted.next_row),
            "documents": counted.documents,
            "vectors": counted.vectors,
        }
        _set_meta(connection, values)
        connection.execute("COMMIT")
    note_committed(Layout(database.path.parent), state.generation + 1)


def _set_meta(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


@dataclass(frozen=True, slots=True)
class _Old:
    """A stored document that is being replaced or deleted."""

    row: int
    first: int
    metadata: str


@dataclass(slots=True, eq=False)
class _Transaction:
    """An open transaction.

    :ivar state: the store's state including the changes.
    :ivar settings: the index's settings, including the fields that the changes declare.
    :ivar changes: number of changes.
    :ivar lost: why all changes were lost; empty if they were not.
    """

    state: State
    settings: IndexSettings
    changes: int = 0
    lost: str = ""


class _OfThread(threading.local):
    """The transaction that contains this thread's last change."""

    transaction: _Transaction | None = None


class StoreWriter:
    """The only writer of a store. Thread-safe."""

    def __init__(self, database: Database, settings: IndexSettings) -> None:
        self._database = database
        self.committed = settings
        # Reentrant, because a signal handler may close the index in the middle of a change.
        self._guard = threading.RLock()
        self._open: _Transaction | None = None
        self._mine = _OfThread()
        self._closed = False

    @property
    def settings(self) -> IndexSettings:
        """The settings with the fields declared so far, committed or not."""
        transaction = self._open
        return transaction.settings if transaction else self.committed

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32] | None) -> list[Rejection]:
        """Add or replace documents; if an id occurs twice, the last document counts.

        :param vectors: (n, dimension), a zero row for "no vector"; None if no document has one.
        :return: the rejected documents.
        """
        with self._guard:
            sifted = sift(documents, vectors, self.settings.fields)
            if sifted.positions:
                chosen = None if vectors is None else vectors[sifted.positions]
                with self._changing() as (connection, transaction):
                    self._put(connection, transaction, sifted.documents, chosen)
                    transaction.settings = transaction.settings.replace(fields=sifted.fields)
        return sifted.rejections

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; return how many existed."""
        with self._guard, self._changing() as (connection, transaction):
            old = self._find(connection, ids)
            self._remove(connection, transaction, old)
        return len(old)

    def declare(self, fields: Mapping[str, FieldType]) -> None:
        """Declare further metadata fields.

        :raises IndexExists: if there is one of them with another type.
        """
        with self._guard:
            check_declared(self.settings.fields, fields, self._database.path.parent)
            with self._changing() as (_, transaction):
                settings = transaction.settings
                names = [f"fields.{name}" for name in fields]
                transaction.settings = settings.declaring(*names, fields={**settings.fields, **fields})

    def set_fusion(self, fusion: Fusion, bm25: Bm25 | None = None, *, asked_for: bool = True) -> None:
        """Change the fusion, and k1 and b if they are given, in the index's settings, which counts as weighed then."""
        with self._guard, self._changing() as (_, transaction):
            settings = transaction.settings
            names = (["fusion"] if asked_for else []) + (["bm25"] if bm25 not in (None, settings.bm25) else [])
            transaction.settings = settings.declaring(*names, fusion=fusion, bm25=bm25 or settings.bm25, weighed=True)

    def commit(self) -> bool:
        """Make all threads' changes durable; return False if there were none.

        :raises StorageError: if that fails, or if this thread's changes were lost before.
        """
        with self._guard:
            self._check_mine()
            transaction = self._open
            if transaction is None:
                return False
            changed = replace(transaction.state, generation=transaction.state.generation + 1)
            values: dict[str, Any] = {name: getattr(changed, name) for name in State.__dataclass_fields__}
            if transaction.settings != self.committed:
                values["settings"] = transaction.settings.to_json().decode()
            try:
                with sqlite_errors(self._database.path):
                    _set_meta(self._database.writer, values)
                    self._database.writer.execute("COMMIT")
            except BaseException as error:
                self._give_up(transaction, error)
                raise
            note_committed(Layout(self._database.path.parent), changed.generation)
            self._open = self._mine.transaction = None
            self.committed = transaction.settings
            return True

    def close(self) -> None:
        """Discard uncommitted changes; all later calls are refused."""
        with self._guard:
            self._closed = True
            if self._open is not None:
                self._give_up(self._open, UsageError("the index was closed before they were committed"))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[Connection, _Transaction]]:
        """Lend the connection for one change; if the block raises, only this change is rolled back."""
        self._check_mine()
        with sqlite_errors(self._database.path):
            connection = self._database.writer
            transaction = self._open = self._open or self._begun(connection)
            before = (transaction.state, transaction.settings)
            try:
                connection.execute("SAVEPOINT change")
                yield connection, transaction
                connection.execute("RELEASE change")
            except BaseException as error:
                transaction.state, transaction.settings = before
                self._take_back(connection, transaction, error)
                raise
            transaction.changes += 1
            self._mine.transaction = transaction

    def _begun(self, connection: Connection) -> _Transaction:
        connection.execute("BEGIN IMMEDIATE")
        try:
            return _Transaction(read_state(connection), self.committed)
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _take_back(self, connection: Connection, transaction: _Transaction, error: BaseException) -> None:
        # Without other changes there is nothing to keep; and after some errors SQLite itself has rolled back.
        if connection.in_transaction and transaction.changes:
            with contextlib.suppress(Error):
                connection.execute("ROLLBACK TO change")
                connection.execute("RELEASE change")
                return
        self._give_up(transaction, error)

    def _give_up(self, transaction: _Transaction, error: BaseException) -> None:
        """Roll a transaction back; this thread gets the error at once, others at their next call."""
        transaction.lost = str(error) or type(error).__name__
        self._open = self._mine.transaction = None
        connection = self._database.writer
        if connection.in_transaction:
            with sqlite_errors(self._database.path):
                connection.execute("ROLLBACK")

    def _check_mine(self) -> None:
        if self._closed:
            raise UsageError(f"{self._database.path.parent}: the index is closed; open it again")
        mine, self._mine.transaction = self._mine.transaction, None
        if mine is not None and mine.lost:
            raise StorageError(
                f"{self._database.path}: what this thread had changed and not committed was lost, as another thread's "
                f"change failed: {mine.lost}; add it again"
            )
        self._mine.transaction = mine

    def _put(
        self,
        connection: Connection,
        transaction: _Transaction,
        documents: Sequence[Document],
        vectors: NDArray[np.float32] | None,
    ) -> None:
        old = self._find(connection, [document.id for document in documents])
        self._remove(connection, transaction, old)
        state = transaction.state
        rows = range(state.next_row, state.next_row + len(documents))
        records: list[tuple[Any, ...]] = []
        fields: list[tuple[Any, ...]] = []
        for row, document in zip(rows, documents, strict=True):
            metadata = encode_metadata(document.metadata)
            first = old[document.id].first if document.id in old else row
            checksum = text_checksum(document.id, document.title, document.text, metadata)
            records.append((row, document.id, first, document.title, document.text, metadata, checksum))
            fields.extend((name, value, row) for name, value in field_values(document.metadata))
        connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", records)
        connection.executemany("INSERT INTO fields VALUES (?, ?, ?)", fields)
        stored = self._put_vectors(connection, rows, vectors) if vectors is not None else 0
        transaction.state = replace(
            state,
            next_row=rows.stop,
            documents=state.documents + len(documents),
            vectors=state.vectors + stored,
        )

    def _put_vectors(self, connection: Connection, rows: range, vectors: NDArray[np.float32]) -> int:
        blobs = [(rows[i], vectors[i].tobytes()) for i in np.flatnonzero(vectors.any(axis=1))]
        connection.executemany(
            "INSERT INTO vectors VALUES (?, ?, ?)", [(row, blob, vector_checksum(blob)) for row, blob in blobs]
        )
        return len(blobs)

    def _find(self, connection: Connection, ids: Sequence[str]) -> dict[str, _Old]:
        found: dict[str, _Old] = {}
        for chunk in in_batches(dict.fromkeys(ids), _CHUNK):
            query = f"SELECT id, row, first, metadata FROM documents WHERE id IN ({','.join('?' * len(chunk))})"
            found.update((id, _Old(row, first, data)) for id, row, first, data in connection.execute(query, chunk))
        return found

    def _remove(self, connection: Connection, transaction: _Transaction, old: Mapping[str, _Old]) -> None:
        if not old:
            return
        state = transaction.state
        rows = [(one.row,) for one in old.values()]
        fields = [
            (name, value, one.row)
            for one in old.values()
            for name, value in field_values(decode_metadata(one.metadata))
        ]
        connection.executemany("DELETE FROM documents WHERE row = ?", rows)
        without_vector = connection.total_changes
        connection.executemany("DELETE FROM vectors WHERE row = ?", rows)
        gone = connection.total_changes - without_vector
        connection.executemany("DELETE FROM fields WHERE field = ? AND value = ? AND row = ?", fields)
        connection.executemany("INSERT INTO tombstones VALUES (?, ?)", [(state.generation + 1, row) for (row,) in rows])
        transaction.state = replace(state, documents=state.documents - len(old), vectors=state.vectors - gone)
