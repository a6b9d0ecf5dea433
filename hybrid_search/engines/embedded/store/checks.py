"""Checksums: of the whole database (the seal) and of each row, and which of them are checked at opening.

Also whether all commits are there: where SQLite's log is damaged, it ends for SQLite, and what follows is lost unsaid.
"""

from __future__ import annotations

import contextlib
import struct
import zlib

from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.manifest import Manifest, listed
from hybrid_search.engines.embedded.store.own_files import overwrite_own, read_own
from hybrid_search.engines.embedded.store.store import Store, counts, read_state, text_checksum, vector_checksum
from hybrid_search.errors import CorruptIndex, HybridSearchError
from hybrid_search.storage import disk_errors

__all__ = [
    "break_seal",
    "check_commits",
    "check_seal",
    "damaged_documents",
    "is_small",
    "miscounts",
    "note_committed",
    "noted",
    "seal",
    "store_problems",
]


_SMALL = 512 << 20
_NOTE = struct.Struct("<QI")
"""A generation and the checksum of its eight bytes."""


def is_small(layout: Layout) -> bool:
    """Return whether the index is small enough (512 MiB) for every byte to be checked at opening."""
    return sum(path.stat().st_size for path in layout.folder.rglob("*") if path.is_file()) <= _SMALL


def seal(layout: Layout) -> None:
    """Record the database's size and checksum. Requires that its log is folded in and nobody writes.

    :raises StorageError: if the record can't be written.
    """
    with disk_errors(f"sealing {layout.database}"):
        Manifest(files=listed(layout.folder, [layout.database.name])).write(layout.folder)


def break_seal(layout: Layout) -> None:
    """Remove the seal; must be called before anything changes.

    :raises StorageError: if it can't be removed.
    """
    with disk_errors(f"unsealing {layout.database}"):
        layout.seal.unlink(missing_ok=True)


def check_seal(layout: Layout, *, contents: bool) -> None:
    """Compare the database with its seal. Without one (the last writer was killed) SQLite's own recovery must do.

    :raises CorruptIndex: if the database differs from its seal; names the damaged documents if they can be found.
    """
    manifest = Manifest.read(layout.folder)
    problems = manifest.problems(layout.folder, contents=contents) if manifest else []
    if problems:
        raise CorruptIndex(f"{problems[0]}; {_damage(layout)}; restore it from a backup, or load the data again")


def note_committed(layout: Layout, generation: int) -> None:
    """Note how far the database has come; must be called after a commit is durable.

    It is not forced to the disk, which would cost as much as the commit: after a loss of power an older note may be
    there, or none, and neither claims what is not there. For the same reason no error is raised if it can't be written.
    """
    number = generation.to_bytes(8, "little")
    with contextlib.suppress(OSError):
        overwrite_own(layout.committed, _NOTE.pack(generation, zlib.crc32(number)))


def noted(layout: Layout) -> int:
    """Return the generation that was noted; 0 if there is no note, or it is not what was written."""
    try:
        generation, checksum = _NOTE.unpack(read_own(layout.committed, _NOTE.size))
    except (OSError, struct.error):
        return 0
    return int(generation) if zlib.crc32(generation.to_bytes(8, "little")) == checksum else 0


def check_commits(store: Store, least: int) -> None:
    """Check that no commit is missing.

    :param least: what :func:`noted` returned before the store was opened, as another process may commit meanwhile.
    :raises CorruptIndex: if one is.
    """
    if (missing := least - store.state().generation) > 0:
        database, folder = store.layout.database, store.layout.folder
        raise CorruptIndex(
            f"{database}: committed documents are missing, those of the last {missing} commits: its log "
            f"({database.name}-wal) is damaged or gone, or it is an older copy; restore the index from a backup, or "
            f"let `hybrid-search repair {folder}` accept what is left and load the data again, which adds the rest"
        )


def _damage(layout: Layout) -> str:
    try:
        store = Store.open(layout, writable=False)
        try:
            found = damaged_documents(store)
        finally:
            store.database.close()
    except HybridSearchError as error:
        return str(error)
    return "; ".join(found) or "the documents themselves read well, so the damage is in an index or a free page"


_MOST_NAMED = 20


def damaged_documents(store: Store) -> list[str]:
    """Read every row; name the documents whose text, metadata or vector fails its checksum (the first 20).

    :raises CorruptIndex: if SQLite can't read on, or the settings are damaged.
    """
    found = []
    size = 4 * store.settings().dimension
    with store.database.reading() as connection:
        for row, id, title, text, metadata, checksum in connection.execute(
            "SELECT row, id, title, text, metadata, checksum FROM documents"
        ):
            if text_checksum(id, title, text, metadata) != checksum:
                found.append(f"document {id!r} (row {row}): its text or metadata is not what was written")
        # A vector of another size is not read: it may be one of gigabytes.
        query = (
            "SELECT row, id, CASE WHEN length(vector) = ? THEN vector END, v.checksum "
            "FROM vectors v LEFT JOIN documents USING (row)"
        )
        for row, id, vector, checksum in connection.execute(query, (size,)):
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
    """Compare the recorded counts with the rows of the tables."""
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
