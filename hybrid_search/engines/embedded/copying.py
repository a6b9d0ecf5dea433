"""Copies an index as it is at one moment, while others read it and write to it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from hybrid_search.engines.embedded.engine import EmbeddedEngine
from hybrid_search.engines.embedded.lifecycle import check_exists, replacement
from hybrid_search.engines.embedded.store.checks import check_commits, noted
from hybrid_search.engines.embedded.store.database import Database, sqlite_errors
from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.own_files import check_own, copy_model, model_folder
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.errors import IndexExists, UsageError
from hybrid_search.storage import check_outside_indexes, disk_errors, make_folder

__all__ = ["copy_index", "put_back"]


def copy_index(folder: Path, to: Path) -> int:
    """Copy an index's documents, vectors and towers into a new folder; return the number of documents.

    What the search needs beside them is built anew. A copy that was interrupted is no index.

    :raises IndexNotFound: if there is no index to copy.
    :raises IndexExists: if there is an index in the other folder.
    :raises UsageError: if the other folder holds other files, is the same one, or lies inside an index.
    :raises CorruptIndex: if the index can't be read, or commits are missing.
    :raises StorageError: if the copy can't be written.
    """
    source, target = Layout(folder), Layout(to)
    check_exists(source)
    check_own(source)
    if to.resolve() == folder.resolve():
        raise UsageError(f"{to} is the index itself; give another folder for the copy")
    check_outside_indexes(to)
    if EmbeddedEngine.exists(to):
        raise IndexExists(f"{to}: there is an index already; give a new folder, or delete it first")
    if strangers := target.strangers():
        raise UsageError(f"{to} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder")
    _check_whole(source)
    with disk_errors(f"creating {to}"):
        make_folder(to)
    # The documents last, as without them the folder is no index.
    if (model := model_folder(source)) is not None:
        copy_model(target, sorted(model.iterdir()))
    _copy_documents(source, target)
    with EmbeddedEngine.open(to, writable=True) as copy:
        return copy.count()


def _check_whole(source: Layout) -> None:
    least = noted(source)
    store = Store.open(source, writable=False)
    try:
        check_commits(store, least)
    finally:
        store.database.close()


def _copy_documents(source: Layout, target: Layout) -> None:
    database = Database(source.database, writable=False)
    try:
        # In one step, which sees one committed state and keeps no writer waiting.
        with database.reading(one_statement=True) as connection, sqlite_errors(target.database):
            check_own(target)
            with contextlib.closing(sqlite3.connect(target.database)) as copy:
                connection.backup(copy, pages=-1)
    finally:
        database.close()


def put_back(copy: Path, folder: Path) -> int:
    """Put a copy in the place of an index, or where there is none; return the number of documents.

    :raises IndexNotFound: if there is no copy.
    :raises IndexLocked: if another process is writing to the index.
    :raises HybridSearchError: as :func:`copy_index`; the index is as it was.
    """
    check_exists(Layout(copy))
    if copy.resolve() == folder.resolve():
        raise UsageError(f"{copy} is the index itself; give the folder of its copy")
    check_outside_indexes(copy)
    with replacement(folder) as place:
        return copy_index(copy, place)
