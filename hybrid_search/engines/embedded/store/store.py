"""Reads the committed state from SQLite. Rows never change and are never reused; a replaced document gets a new row."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store.database import Database
from hybrid_search.engines.embedded.store.layout import FORMAT_VERSION, Layout
from hybrid_search.engines.embedded.store.own_files import check_own
from hybrid_search.engines.embedded.store.row_ids import RowIds
from hybrid_search.errors import ConfigError, CorruptIndex, IndexNotFound, SearchIndexError
from hybrid_search.filters import Scalar
from hybrid_search.settings.index import IndexSettings
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, MetadataValue

__all__ = [
    "State",
    "Store",
    "column",
    "counts",
    "decode_metadata",
    "encode_metadata",
    "field_values",
    "meta",
    "read_state",
    "text_checksum",
    "vector_checksum",
]


Rows = NDArray[np.int64]

_CHUNK = 500
_PAGE = 512
_VECTORS = 4096
_MOST_ROWS = 1 << 31
_NEVER = 1 << 62
_METADATA = msgspec.json.Decoder(dict[str, MetadataValue])
_DOCUMENT = "id, title, text, metadata, checksum, row"


@dataclass(frozen=True, slots=True)
class State:
    """The store's generation and counts; the caches compare theirs with them.

    :ivar generation: increases by one with each commit that changed something.
    :ivar next_row: the row of the next document.
    """

    generation: int
    next_row: int
    documents: int
    vectors: int


class Store:
    """Read access to the committed state. Thread-safe."""

    def __init__(self, layout: Layout, database: Database) -> None:
        self.layout = layout
        self.database = database
        self.row_ids = RowIds(database)

    @classmethod
    def open(cls, layout: Layout, *, writable: bool) -> Self:
        """Open the database of an existing index.

        :raises IndexNotFound: if it has none, or an unfinished one.
        :raises SearchIndexError: if a newer version of this package wrote it.
        :raises CorruptIndex: if it is not a sound database, or a link.
        """
        if not layout.exists():
            raise IndexNotFound(
                f"{layout.folder}: no index here (looked for {layout.database.name}); "
                f"check the path, or create one with `hybrid-search load`"
            )
        check_own(layout)
        store = cls(layout, Database(layout.database, writable=writable))
        try:
            store._check_version()
        except BaseException:
            store.database.close()
            raise
        return store

    def _check_version(self) -> None:
        with self.database.reading() as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]
            version = meta(connection, "format_version") if tables else None
        if version is None:
            raise IndexNotFound(
                f"{self.layout.folder}: the index here was never finished; run the load again that began it"
            )
        if version != FORMAT_VERSION:
            raise SearchIndexError(
                f"{self.layout.folder}: the index has format {version!r}, this version reads {FORMAT_VERSION}; "
                f"use the version that made it, or load the data again"
            )

    def settings(self) -> IndexSettings:
        """Read the index's settings, with the metadata fields declared so far."""
        with self.database.reading() as connection:
            text = meta(connection, "settings")
        if not isinstance(text, str):
            raise CorruptIndex(f"{self.layout.database}: the settings are missing; load the data again")
        try:
            return IndexSettings.from_json(text, source=str(self.layout.database))
        except ConfigError as error:  # the settings were written by this package, not by a user
            raise CorruptIndex(f"{error}; the settings are damaged, load the data again") from error

    def state(self) -> State:
        """Read the generation and the counts."""
        with self.database.reading(one_statement=True) as connection:
            # Called by every search. data_version changes when another connection commits, and is cheap to read.
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if connection.state is None or connection.state[0] != version:
                connection.state = (version, read_state(connection))
            state: State = connection.state[1]
            return state

    def documents(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id.

        :raises CorruptIndex: if a document fails its checksum; names it.
        """
        found: dict[str, Document] = {}
        with self.database.reading() as connection:
            for chunk in in_batches(dict.fromkeys(ids), _CHUNK):
                query = f"SELECT {_DOCUMENT} FROM documents WHERE id IN ({_marks(chunk)})"
                found.update((row[0], self._document(row)) for row in connection.execute(query, chunk))
        return [found.get(id) for id in ids]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return id -> (dimension,) of the documents that have a vector.

        :raises CorruptIndex: as :meth:`vectors_after`.
        """
        size, found = 4 * self.settings().dimension, dict[str, NDArray[np.float32]]()
        with self.database.reading() as connection:
            for chunk in in_batches(dict.fromkeys(ids), _CHUNK):
                query = (
                    "SELECT id, row, CASE WHEN length(vector) = ? THEN vector END, vectors.checksum FROM documents "
                    f"JOIN vectors USING (row) WHERE id IN ({_marks(chunk)})"
                )
                for id, row, vector, checksum in connection.execute(query, (size, *chunk)):
                    if vector_checksum(vector) != checksum:
                        raise self.corrupt(row, "the vector")
                    found[id] = np.frombuffer(vector, np.float32)
        return found

    def documents_at(self, rows: Sequence[int]) -> list[Document | None]:
        """Fetch documents by row, None for a deleted row; otherwise as :meth:`documents`."""
        found: dict[int, Document] = {}
        with self.database.reading(one_statement=len(rows) <= _CHUNK) as connection:
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                query = f"SELECT {_DOCUMENT} FROM documents WHERE row IN ({_marks(chunk)})"
                found.update((record[5], self._document(record)) for record in connection.execute(query, chunk))
        return [found.get(row) for row in rows]

    def all_documents(self) -> Iterator[Document]:
        """Iterate in the order of first addition, page by page, so that no transaction lasts longer than a page."""
        after = 0
        while True:
            with self.database.reading() as connection:
                query = f"SELECT {_DOCUMENT}, first FROM documents WHERE first > ? ORDER BY first LIMIT {_PAGE}"
                page = connection.execute(query, (after,)).fetchall()
            if not page:
                return
            after = page[-1][-1]
            yield from (self._document(row) for row in page)

    def texts_after(self, connection: Connection, row: int) -> Iterator[tuple[int, str]]:
        """Yield (row, searchable text) of the rows above ``row``, ascending.

        :raises CorruptIndex: if a text fails its checksum, or a document stands at a row that was never given out.
        """
        next_row = read_state(connection).next_row
        query = f"SELECT {_DOCUMENT} FROM documents WHERE row > ? ORDER BY row"
        for record in connection.execute(query, (row,)):
            if record[5] >= next_row:
                raise CorruptIndex(
                    f"{self.layout.database}: a document stands at row {record[5]}, behind the last one given out; "
                    f"load the data again"
                )
            yield record[5], self._document(record).searchable_text

    def vectors_after(self, connection: Connection, row: int) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Yield batches of (rows, vectors) above ``row``: (n,) ascending and (n, dimension).

        :raises CorruptIndex: if a vector fails its checksum or has another dimension; names its document.
        """
        # A vector of another size is not read: it may be one of gigabytes.
        query = (
            "SELECT row, CASE WHEN length(vector) = ? THEN vector END, checksum FROM vectors WHERE row > ? ORDER BY row"
        )
        cursor = connection.execute(query, (4 * self.settings().dimension, row))
        while records := cursor.fetchmany(_VECTORS):
            for number, vector, checksum in records:
                if vector_checksum(vector) != checksum:
                    raise self.corrupt(number, "the vector")
            blob = b"".join(vector for _, vector, _ in records)
            yield (
                np.array([number for number, _, _ in records], np.int64),
                np.frombuffer(blob, np.float32).reshape(len(records), -1),
            )

    def gone_since(self, connection: Connection, generation: int, up_to: int) -> Rows:
        """Return the rows up to ``up_to`` that were deleted after ``generation``."""
        return column(connection, "SELECT row FROM tombstones WHERE generation > ? AND row <= ?", (generation, up_to))

    def lost_since(self, generation: int) -> bool:
        """Return whether any row was deleted after ``generation``."""
        with self.database.reading(one_statement=True) as connection:
            query = "SELECT EXISTS (SELECT 1 FROM tombstones WHERE generation > ?)"
            (lost,) = connection.execute(query, (generation,)).fetchone()
        return bool(lost)

    def _document(self, record: tuple[Any, ...]) -> Document:
        id, title, text, metadata, checksum, row = record[:6]
        if text_checksum(id, title, text, metadata) != checksum:
            raise self.corrupt(row, f"the text of document {id!r}")
        try:
            return Document(id, text, title, decode_metadata(metadata))
        except msgspec.DecodeError as error:
            raise self.corrupt(row, f"the metadata of document {id!r}") from error

    def corrupt(self, row: int, what: str) -> CorruptIndex:
        """Return the error for a row that fails its checksum."""
        return CorruptIndex(
            f"{self.layout.database}, row {row} (document {self.row_ids.read([row]).get(row)!r}): {what} is not "
            f"what was written; delete the document and add it again, or load the data again"
        )


def column(connection: Connection, query: str, values: Sequence[object] = ()) -> Rows:
    """Return a query's only column of integers: (n,) int64."""
    return np.fromiter((number for (number,) in connection.execute(query, tuple(values))), np.int64)


def counts(connection: Connection) -> State:
    """Count rows: the state as the tables have it, instead of as recorded; ``next_row`` may be smaller."""
    state = read_state(connection)
    documents, vectors = (column(connection, f"SELECT count(*) FROM {table}")[0] for table in ("documents", "vectors"))
    last = column(connection, "SELECT max(row) FROM (SELECT 0 AS row UNION SELECT max(row) FROM documents)")[0]
    return State(state.generation, int(last) + 1, int(documents), int(vectors))


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)


def meta(connection: Connection, key: str) -> object:
    """Read a value of the meta table, None if it is missing."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def read_state(connection: Connection) -> State:
    """Read the state through a given connection.

    :raises CorruptIndex: if a number is missing or out of range.
    """
    names = tuple(State.__dataclass_fields__)
    values = dict(connection.execute(f"SELECT key, value FROM meta WHERE key IN ({_marks(names)})", names))
    try:
        state = State(**{name: int(value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise CorruptIndex(f"the index's counters are damaged ({values!r}); load the data again") from error
    # A range check, because arrays are allocated for every row that ever existed.
    if not (0 <= state.generation < _NEVER and 0 < state.next_row <= _MOST_ROWS and 0 <= state.documents < _MOST_ROWS):
        raise CorruptIndex(f"the index's counters are damaged ({values!r}); load the data again")
    return state


def field_values(metadata: Mapping[str, MetadataValue]) -> Iterator[tuple[str, Scalar]]:
    """Yield the (field, value) pairs that filters compare with; each of several keywords once."""
    for name, value in metadata.items():
        if isinstance(value, tuple):
            yield from ((name, word) for word in dict.fromkeys(value))
        else:
            yield name, value


def encode_metadata(metadata: Mapping[str, MetadataValue]) -> str:
    """Return metadata as JSON, in the given order."""
    return json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":")) if metadata else ""


def decode_metadata(text: str) -> dict[str, MetadataValue]:
    """Parse the JSON of :func:`encode_metadata`; several keywords become a tuple.

    :raises msgspec.DecodeError: if it is none.
    """
    if not text:
        return {}
    return _METADATA.decode(text)


def text_checksum(id: object, title: object, text: object, metadata: object) -> int:
    """Return the CRC-32 of a document's stored columns; a damaged column may have any type."""
    return zlib.crc32(f"{id}\x1f{title}\x1f{text}\x1f{metadata}".encode("utf-8", "surrogatepass"))


def vector_checksum(vector: object) -> int:
    """Return the CRC-32 of a stored vector; -1 if the damaged column is no vector."""
    return zlib.crc32(vector) if isinstance(vector, bytes) else -1
