"""A full check of what is stored: every row's checksum, SQLite's own check, and the counts."""

from __future__ import annotations

from hybrid_search.engines.embedded.records import text_checksum, vector_checksum
from hybrid_search.engines.embedded.store import Store, counts, read_state

__all__ = ["damaged_documents", "miscounts", "store_problems"]

_MOST_NAMED = 20


def damaged_documents(store: Store) -> list[str]:
    """Read every row and name the documents whose text, metadata or vector is not what was written (the first 20).

    :raises CorruptIndex: if SQLite can't read on.
    """
    found = []
    with store.database.reading() as connection:
        for row, id, title, text, metadata, checksum in connection.execute(
            "SELECT row, id, title, text, metadata, checksum FROM documents"
        ):
            if text_checksum(id, title, text, metadata) != checksum:
                found.append(f"document {id!r} (row {row}): its text or metadata is not what was written")
        query = "SELECT row, id, vector, v.checksum FROM vectors v LEFT JOIN documents USING (row)"
        for row, id, vector, checksum in connection.execute(query):
            if vector_checksum(vector) != checksum:
                found.append(f"document {id!r} (row {row}): its vector is not what was written")
    return found[:_MOST_NAMED]


def store_problems(store: Store) -> list[str]:
    """Check the whole database: structure and rows.

    :raises CorruptIndex: if SQLite can't read it at all.
    """
    with store.database.reading() as connection:
        found = [
            f"documents.sqlite: {line}" for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"
        ]
    return [*found, *damaged_documents(store)]


def miscounts(store: Store) -> list[str]:
    """Compare the numbers that are recorded with the rows that are there."""
    with store.database.reading() as connection:
        state = read_state(connection)
        counted = counts(connection)
    found = []
    for name in ("documents", "vectors"):
        if (actual := getattr(counted, name)) != (recorded := getattr(state, name)):
            found.append(f"documents.sqlite: {actual} {name}, {recorded} were recorded")
    if counted.next_row > state.next_row:
        found.append(f"documents.sqlite: row {counted.next_row - 1} is there, the next one was to be {state.next_row}")
    return found
