"""An index that is not open: finding its damage, and building its caches again."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.engines.embedded.lifecycle import check_exists
from hybrid_search.engines.embedded.search.caches import Caches
from hybrid_search.engines.embedded.store.checks import (
    break_seal,
    check_commits,
    check_seal,
    miscounts,
    noted,
    store_problems,
)
from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.locks import WriterLock
from hybrid_search.engines.embedded.store.manifest import Manifest
from hybrid_search.engines.embedded.store.own_files import remove
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.engines.embedded.store.writing import recount
from hybrid_search.errors import CorruptIndex
from hybrid_search.storage import disk_errors

__all__ = ["damage", "repair"]

_RESTORE = "restore it from a backup, or load the data again with recreate=True"
_PATIENCE = 2.0


def damage(folder: Path) -> list[str]:
    """Read all files and compare them with their checksums, before opening the index would repair its caches.

    :return: each problem and what to do about it; empty if there is none.
    :raises IndexNotFound: if there is no index.
    """
    layout = Layout(Path(folder))
    check_exists(layout)
    # Keeps readers from repairing meanwhile; not available if another process writes or the folder is read-only.
    lock = WriterLock.for_checking(layout, patience=_PATIENCE)
    try:
        found = _seal_problems(layout)
        least = noted(layout)
        try:
            store = Store.open(layout, writable=False)
        except CorruptIndex as error:
            return [*found, str(error)]
        try:
            try:
                check_commits(store, least)
            except CorruptIndex as error:
                found.append(str(error))
            return found + _problems(layout, store)
        finally:
            store.database.close()
    finally:
        if lock is not None:
            lock.release()


def repair(folder: Path) -> list[str]:
    """Rebuild every search cache from the documents and count them again; return the wrong counts found before.

    :raises IndexNotFound: if there is no index.
    :raises IndexLocked: if another process is writing.
    :raises CorruptIndex: if the documents themselves are damaged, which can't be repaired.
    :raises StorageError: if a cache can't be written; calling this again continues.
    """
    layout = Layout(Path(folder))
    check_exists(layout)
    lock = WriterLock.for_writing(layout)
    try:
        store = Store.open(layout, writable=True)
        try:
            if damaged := store_problems(store):
                raise CorruptIndex(
                    f"{'; '.join(damaged)}; delete these documents and add them again, restore the index from a "
                    f"backup, or load the data again with recreate=True"
                )
            found = miscounts(store)
            break_seal(layout)
            recount(store.database)
        finally:
            store.database.close()
        with disk_errors(f"repairing {layout.folder}"):
            for cache in (layout.lexical, layout.forward, layout.dense):
                remove(cache)
    finally:
        lock.release()
    return found


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
