"""The SQLite file: its tables, its connections, and the translation of its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_search.errors import CorruptIndex, IndexLocked, StorageError
from hybrid_search.storage import disk_errors

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
_READING = "nothing is lost: free some space (or check the permissions) and try again"
_WRITING = (
    "everything committed before is kept, what was being changed is not: "
    "free some space (or check the permissions) and do it again"
)
_BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PATIENCE = 10.0


@contextlib.contextmanager
def sqlite_errors(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Translate SQLite's errors to this package's.

    :param reading: the caller only reads; selects the advice in the message.
    :raises StorageError: for a full disk and the like; what was committed is kept.
    :raises CorruptIndex: if the file is not a sound database.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _STORAGE_CODES:
            raise StorageError(f"{path}: {_STORAGE_CODES[code]}; {_READING if reading else _WRITING}") from error
        if code in _BUSY_CODES:
            raise IndexLocked(f"{path}: {error}; another program has the file open for writing") from error
        raise CorruptIndex(f"{path}: {error}; restore it from a backup, or load the data again") from error
    except MemoryError as error:  # a text that somebody made gigabytes long, or really no memory
        raise StorageError(f"{path}: a document takes more memory than there is; give the process more") from error
    except UnicodeDecodeError as error:  # SQLite's message quotes the damaged schema
        raise CorruptIndex(
            f"{path}: its schema is damaged; restore it from a backup, or load the data again"
        ) from error


class _Replaced(Exception):
    """Another file has taken the place of the one that was opened."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Identifies the state of the files, to detect other processes' changes; ``logged``: the log is not empty."""

    modified: int
    size: int
    logged: bool


class Reader(sqlite3.Connection):
    """A reading connection, with a cache of what was read and SQLite's data version at that time."""

    state: tuple[int, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Lent:
    """A reading connection; ``seen`` is the file's stamp if it was opened as immutable, else None."""

    connection: Reader
    seen: _Stamp | None


class Database:
    """One writing connection if the index was opened to write, and as many reading connections as threads need.

    If another index is put in this one's place (``load --recreate``), nothing can be opened any more. The connections
    there are go on reading the old file, and threads that have none wait for one of them.
    """

    def __init__(self, path: Path, *, writable: bool, create: bool = False) -> None:
        self.path = path
        self._idle: list[_Lent] = []
        self._guard = threading.Condition()
        self._closed = False
        self._opened: tuple[int, int] | None = None
        self._writer = self._connect("rwc" if create else "rw") if writable else None

    def create_tables(self) -> None:
        """Create missing tables; durable when this returns."""
        with sqlite_errors(self.path):
            self.writer.executescript(_TABLES)

    @property
    def writer(self) -> sqlite3.Connection:
        """The writing connection, in autocommit mode: transactions are started explicitly."""
        if self._writer is None:
            raise StorageError(f"{self.path}: this index was opened to read; open it with writable=True to change it")
        return self._writer

    @contextlib.contextmanager
    def reading(self, *, one_statement: bool = False) -> Iterator[Reader]:
        """Lend a connection that sees one committed state until it is given back.

        :param one_statement: one statement is run, or several that may see different states; saves the transaction.
        :raises StorageError: as :func:`sqlite_errors`.
        :raises CorruptIndex: as :func:`sqlite_errors`.
        """
        with sqlite_errors(self.path, reading=True):
            lent = self._lend()
            connection = lent.connection
            try:
                if not one_statement:
                    connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.rollback()
                self._give_back(lent)

    def _lend(self) -> _Lent:
        with self._guard:
            lent = self._idle.pop() if self._idle else None
        if lent is not None and lent.seen is not None and not self.is_replaced() and lent.seen != self._stamp():
            lent.connection.close()
            lent = None
        if lent is not None:
            return lent
        if not self.is_replaced():
            with contextlib.suppress(_Replaced):  # just now
                return self._open_to_read()
        return self._given_back()

    def _given_back(self) -> _Lent:
        """Wait for a connection that another thread uses."""
        with self._guard:
            if self._guard.wait_for(lambda: self._idle, _PATIENCE):
                return self._idle.pop()
        raise StorageError(f"{self.path.parent}: the index that was opened is not there any more; open it again")

    def _give_back(self, lent: _Lent) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(lent)
                self._guard.notify()
                return
        lent.connection.close()

    def is_replaced(self) -> bool:
        """Return whether the path stands for another file than the one that was opened, or for none."""
        return self._opened is not None and self._file() != self._opened

    def _file(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open_to_read(self) -> _Lent:
        """Open a reading connection; as immutable if SQLite can't create its files beside the database."""
        stamp = self._stamp()
        if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            try:
                return _Lent(self._connect("rw"), None)
            except StorageError:  # a full disk
                if stamp.logged:
                    raise
        # What is in the log can only be read through its files, which an immutable connection would ignore.
        if stamp.logged:
            return _Lent(self._connect("ro"), None)
        return _Lent(self._connect("ro&immutable=1"), stamp)

    def _stamp(self) -> _Stamp:
        log = self.path.with_name(f"{self.path.name}-wal")
        with disk_errors(f"reading {self.path}"):
            file = self.path.stat()
            return _Stamp(file.st_mtime_ns, file.st_size, log.exists() and log.stat().st_size > 0)

    def _connect(self, mode: str) -> Reader:
        """Open a connection to the same file as the first one.

        :raises _Replaced: if there is another file at the path now.
        """
        while True:
            before = self._opened or self._file()
            connection = self._connected(mode)
            now = self._file()
            if before in (now, None) or self._opened:
                break
            connection.close()  # the first one, and which of the two files it reads is not known
        self._opened = self._opened or now
        if now != self._opened:
            connection.close()
            raise _Replaced
        return connection

    def _connected(self, mode: str) -> Reader:
        with sqlite_errors(self.path, reading=mode != "rwc"):
            connection = sqlite3.connect(
                # "rw": a file that has vanished must not be created anew.
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                factory=Reader,
                isolation_level=None,
                check_same_thread=False,
                timeout=10,
            )
            try:
                if mode.startswith("rw"):
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=FULL")
                # The fields table and the documents of large indexes: a cache of 64 MiB instead of 2.
                connection.execute("PRAGMA cache_size=-65536")
            except BaseException:
                connection.close()
                raise
            return connection

    def fold_log(self) -> bool:
        """Move the write-ahead log into the file; return False if another reader still needs the log.

        What the file has beyond its pages is cut off: SQLite never reads it, and it may be a terabyte of nothing.
        """
        with sqlite_errors(self.path):
            busy, _, _ = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                return False
            (pages,), (size,) = (self.writer.execute(f"PRAGMA page_{what}").fetchone() for what in ("count", "size"))
        with disk_errors(f"writing {self.path}"):
            if 0 < pages * size < self.path.stat().st_size:
                os.truncate(self.path, pages * size)
        return True

    def close(self) -> None:
        """Close all connections; an open transaction is rolled back."""
        with self._guard:
            self._closed = True
            connections = [*(lent.connection for lent in self._idle), *([self._writer] if self._writer else [])]
            self._idle = []
            self._writer = None
        for connection in connections:
            connection.close()
