"""Finds the damage in an index that is not open, without repairing anything."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.engines.embedded import lifecycle
from hybrid_search.engines.embedded.caches import Caches
from hybrid_search.engines.embedded.checks import check_seal, miscounts, store_problems
from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.engines.embedded.locks import WriterLock
from hybrid_search.engines.embedded.manifest import Manifest
from hybrid_search.engines.embedded.store import Store
from hybrid_search.errors import CorruptIndex

__all__ = ["damage"]

_RESTORE = "restore it from a backup, or load the data again with recreate=True"
_PATIENCE = 2.0


def damage(folder: Path) -> list[str]:
    """Read all files and compare them with their checksums, before opening the index would repair its caches.

    :return: each problem and what to do about it; empty if there is none.
    :raises IndexNotFound: if there is no index.
    """
    layout = Layout(Path(folder))
    lifecycle.check_exists(layout)
    # Keeps readers from repairing meanwhile; not available if another process writes or the folder is read-only.
    lock = WriterLock.for_checking(layout, patience=_PATIENCE)
    try:
        found = _seal_problems(layout)
        try:
            store = Store.open(layout, writable=False)
        except CorruptIndex as error:
            return [*found, str(error)]
        try:
            return found + _problems(layout, store)
        finally:
            store.database.close()
    finally:
        if lock is not None:
            lock.release()


def _seal_problems(layout: Layout) -> list[str]:
    if layout.seal.exists() and Manifest.read(layout.folder) is None:
        return [f"{layout.seal} is not what was written; {_rebuild(layout)}"]
    try:
        check_seal(layout, contents=True)
    except CorruptIndex as error:
        return [str(error)]
    return []


def _problems(layout: Layout, store: Store) -> list[str]:
    try:
        found = [f"{problem}; {_RESTORE}" for problem in store_problems(store)]
        found += [f"{problem}; {_rebuild(layout)}" for problem in miscounts(store)]
        caches = Caches(layout, store, store.settings())
        return found + [f"{problem}; {_rebuild(layout)}" for problem in caches.damage()]
    except CorruptIndex as error:
        return [str(error)]


def _rebuild(layout: Layout) -> str:
    return f"`hybrid-search repair {layout.folder}` builds it again from the documents"
