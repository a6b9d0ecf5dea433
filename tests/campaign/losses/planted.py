"""The faults that are planted: something is not forced to the disk."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["planted"]


def _no_file() -> mock._patch[Any]:
    from hybrid_search import storage

    return mock.patch.object(storage.os, "fsync", return_value=None)


def _no_folder() -> mock._patch[Any]:
    from hybrid_search import storage

    return mock.patch.object(storage, "sync_folder", return_value=None)


def _no_database() -> mock._patch[Any]:
    from hybrid_search.engines.embedded.store.database import Database

    connect = Database._connect

    def careless(self: Database, mode: str) -> sqlite3.Connection:
        connection = connect(self, mode)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    return mock.patch.object(Database, "_connect", careless)


_FAULTS: dict[str, Callable[[], mock._patch[Any]]] = {
    "files-not-forced": _no_file,
    "folders-not-forced": _no_folder,
    "database-not-forced": _no_database,
}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a fault in this process.

    :raises KeyError: if there is no such fault.
    """
    with contextlib.nullcontext() if name is None else _FAULTS[name]():
        yield
