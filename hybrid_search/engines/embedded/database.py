"""The SQLite file: its tables, its connections, and its errors in this package's words."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from hybrid_search.errors import CorruptIndex, IndexLocked, StorageError

__all__ = ["Database", "sqlite_errors"]

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
-- A replaced document gets a new row, so a row's content never changes; "first" keeps the place of its first addition.
CREATE TABLE IF NOT EXISTS documents (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, first INTEGER NOT NULL UNIQUE,
    title TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS vectors (row INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fields (field TEXT, value, row INTEGER, PRIMARY KEY (field, value, row)) WITHOUT ROWID;
-- Rows that are gone, and since which generation: what the caches have to forget.
CREATE TABLE IF NOT EXISTS tombstones (
    generation INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (generation, row)
) WITHOUT ROWID;
"""

_STORAGE_CODES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reported an error (it may be full)",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_PERM: "access is denied",
}
_BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into this package's.

    :raises StorageError: for a full disk and the like; what was committed is kept.
    :raises CorruptIndex: if the file is not a sound database.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _STORAGE_CODES:
            raise StorageError(
                f"{path}: {_STORAGE_CODES[code]}; everything committed before is kept, what was added since is not: "
                f"free some space (or check the permissions) and add it again"
            ) from error
        if code in _BUSY_CODES:
            raise IndexLocked(f"{path}: {error}; another program has the file open for writing") from error
        raise CorruptIndex(f"{path}: {error}; restore it from a backup, or load the data again") from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its own message
        raise CorruptIndex(
            f"{path}: its schema is damaged; restore it from a backup, or load the data again"
        ) from error


class Database:
    """One writing connection where the index is opened to write, and as many reading ones as threads need."""

    def __init__(self, path: Path, *, writable: bool, create: bool = False) -> None:
        self.path = path
        self._create = create
        self._idle: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        self._writer = self._connect() if writable else None

    def create_tables(self) -> None:
        """Make the tables that are missing; durable at once."""
        with sqlite_errors(self.path):
            self.writer.executescript(_TABLES)

    @property
    def writer(self) -> sqlite3.Connection:
        """The writing connection, in autocommit mode: transactions are begun by hand."""
        if self._writer is None:
            raise StorageError(f"{self.path}: this index was opened to read; open it with writable=True to change it")
        return self._writer

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees one committed state for as long as it is lent.

        :raises StorageError: as :func:`sqlite_errors`.
        :raises CorruptIndex: as :func:`sqlite_errors`.
        """
        with sqlite_errors(self.path):
            with self._guard:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connect()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.rollback()
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        with sqlite_errors(self.path):
            connection = sqlite3.connect(
                # "rw": a file that vanished must not come back empty.
                f"{self.path.absolute().as_uri()}?mode={'rwc' if self._create else 'rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=10,
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                # The fields table and the documents of large indexes: a cache of 64 MiB instead of 2.
                connection.execute("PRAGMA cache_size=-65536")
            except BaseException:
                connection.close()
                raise
            return connection

    def fold_log(self) -> bool:
        """Move the write-ahead log into the file; False when a reader elsewhere still needs the log."""
        with sqlite_errors(self.path):
            busy, _, _ = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def close(self) -> None:
        """Close all connections; an open transaction is rolled back."""
        with self._guard:
            self._closed = True
            connections = [*self._idle, *([self._writer] if self._writer else [])]
            self._idle = []
            self._writer = None
        for connection in connections:
            connection.close()
