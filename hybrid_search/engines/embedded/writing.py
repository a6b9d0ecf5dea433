"""Changes to the store: one open transaction from the first change to the commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from sqlite3 import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.config import IndexSettings
from hybrid_search.engines.documents import sift
from hybrid_search.engines.embedded.database import Database, sqlite_errors
from hybrid_search.engines.embedded.layout import FORMAT_VERSION
from hybrid_search.engines.embedded.records import (
    decode_metadata,
    encode_metadata,
    field_values,
    text_checksum,
    vector_checksum,
)
from hybrid_search.engines.embedded.store import State, read_state
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection

__all__ = ["StoreWriter", "create_store"]

_CHUNK = 500


def create_store(database: Database, settings: IndexSettings) -> None:
    """Make an empty store; durable when this returns."""
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


def _set_meta(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


@dataclass(frozen=True, slots=True)
class _Old:
    """A stored document that is replaced or deleted."""

    row: int
    first: int
    metadata: str


class StoreWriter:
    """The only way to change a store. Any error takes everything back to the last commit."""

    def __init__(self, database: Database, settings: IndexSettings) -> None:
        self._database = database
        self.committed = settings
        self.settings = settings
        self._pending: State | None = None

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32] | None) -> list[Rejection]:
        """Add or replace documents; of the same id twice, the last one counts.

        :param vectors: (n, dimension), a row per document; zero rows are "no vector"; None for no vectors at all.
        :return: the refused documents.
        """
        sifted = sift(documents, vectors, self.settings.fields)
        if sifted.positions:
            chosen = None if vectors is None else vectors[sifted.positions]
            with self._changing() as connection:
                self._put(connection, [documents[position] for position in sifted.positions], chosen)
                if sifted.fields != self.settings.fields:
                    self.settings = self.settings.replace(fields=sifted.fields)
        return sifted.rejections

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; returns how many were there."""
        with self._changing() as connection:
            old = self._find(connection, ids)
            self._remove(connection, old)
        return len(old)

    def commit(self) -> bool:
        """Make the changes durable; False when there were none."""
        if self._pending is None:
            return False
        with self._changing() as connection:
            changed = replace(self._pending, generation=self._pending.generation + 1)
            values: dict[str, Any] = {name: getattr(changed, name) for name in State.__dataclass_fields__}
            if self.settings != self.committed:
                values["settings"] = self.settings.to_json().decode()
            _set_meta(connection, values)
            connection.execute("COMMIT")
        self._pending = None
        self.committed = self.settings
        return True

    def rollback(self) -> None:
        """Drop what was not committed."""
        self._pending = None
        self.settings = self.committed
        connection = self._database.writer
        # After a full disk SQLite has already rolled back by itself.
        if connection.in_transaction:
            with sqlite_errors(self._database.path):
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Connection]:
        try:
            with sqlite_errors(self._database.path):
                connection = self._database.writer
                if self._pending is None:
                    connection.execute("BEGIN IMMEDIATE")
                    self._pending = read_state(connection)
                yield connection
        except BaseException:
            self.rollback()
            raise

    def _put(self, connection: Connection, documents: Sequence[Document], vectors: NDArray[np.float32] | None) -> None:
        old = self._find(connection, [document.id for document in documents])
        self._remove(connection, old)
        state = self._state
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
        self._pending = replace(
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

    def _remove(self, connection: Connection, old: Mapping[str, _Old]) -> None:
        if not old:
            return
        state = self._state
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
        self._pending = replace(state, documents=state.documents - len(old), vectors=state.vectors - gone)

    @property
    def _state(self) -> State:
        if self._pending is None:  # only reached inside _changing, which sets it
            raise RuntimeError("no transaction is open")
        return self._pending
