"""Creating, opening and deleting an index folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from hybrid_search.analysis import analyzer
from hybrid_search.config import IndexSettings
from hybrid_search.engines.embedded.caches import Caches
from hybrid_search.engines.embedded.database import Database
from hybrid_search.engines.embedded.faiss_index import check_factory
from hybrid_search.engines.embedded.layout import FORMAT_VERSION, Layout
from hybrid_search.engines.embedded.locks import WriterLock
from hybrid_search.engines.embedded.seal import break_seal, check_seal, is_small
from hybrid_search.engines.embedded.store import Store
from hybrid_search.engines.embedded.writing import create_store
from hybrid_search.errors import ConfigError, IndexExists, IndexNotFound, UsageError
from hybrid_search.storage import disk_errors

__all__ = ["Opened", "create", "drop", "is_finished", "open_to_read", "open_to_write"]

_CHECK_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Opened:
    """An index that was opened; ``lock`` is None when it was opened to read."""

    layout: Layout
    store: Store
    caches: Caches
    lock: WriterLock | None


def create(layout: Layout, settings: IndexSettings, *, exist_ok: bool) -> Opened:
    """Make an index; see :meth:`EmbeddedEngine.create`."""
    _check_settings(settings)
    if strangers := layout.strangers():
        raise UsageError(
            f"{layout.folder} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder"
        )
    with disk_errors(f"creating {layout.folder}"):
        layout.folder.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.for_writing(layout)
    try:
        if is_finished(layout):
            if not exist_ok:
                raise IndexExists(f"{layout.folder}: there is an index already; open it, or delete it first")
            return _opened_to_write(layout, lock, same_as=settings)
        database = Database(layout.database, writable=True, create=True)
        try:
            create_store(database, settings)
        finally:
            database.close()
        return _opened_to_write(layout, lock)
    except BaseException:
        lock.release()
        raise


def _check_settings(settings: IndexSettings) -> None:
    analyzer(settings.analyzer)
    check_factory(settings.faiss, settings.dimension)
    if settings.format_version != FORMAT_VERSION:
        raise ConfigError(f"format_version is {settings.format_version}; this version makes {FORMAT_VERSION}")


def is_finished(layout: Layout) -> bool:
    """Return whether there is an index, and not only the beginning of one that a crash left."""
    if not layout.exists():
        return False
    try:
        Store.open(layout, writable=False).database.close()
    except IndexNotFound:
        return False
    return True


def open_to_write(layout: Layout) -> Opened:
    """Open an index to change it; see :meth:`EmbeddedEngine.open`."""
    _check_exists(layout)
    lock = WriterLock.for_writing(layout)
    try:
        return _opened_to_write(layout, lock)
    except BaseException:
        lock.release()
        raise


def _check_exists(layout: Layout) -> None:
    if not layout.exists():
        raise IndexNotFound(
            f"{layout.folder}: no index here (looked for {layout.database.name}); check the path, or load data into it"
        )


def _opened_to_write(layout: Layout, lock: WriterLock, *, same_as: IndexSettings | None = None) -> Opened:
    contents = is_small(layout)
    check_seal(layout, contents=contents)
    store = Store.open(layout, writable=True)
    try:
        settings = store.settings()
        if same_as is not None:
            _check_same(layout, settings, same_as)
        break_seal(layout)
        caches = Caches(layout, store, settings)
        caches.check_and_repair(contents=contents)
    except BaseException:
        store.database.close()
        raise
    return Opened(layout, store, caches, lock)


def _check_same(layout: Layout, held: IndexSettings, asked: IndexSettings) -> None:
    for name in type(held).__struct_fields__:
        ours, theirs = getattr(held, name), getattr(asked, name)
        if name == "fields":
            ours = {field: kind for field, kind in ours.items() if field in theirs}
        if ours != theirs:
            raise IndexExists(
                f"{layout.folder}: the index has {name} {ours!r}, asked for {theirs!r}; "
                f"use another folder, or delete the index first"
            )


def open_to_read(layout: Layout) -> Opened:
    """Open an index to search it; see :meth:`EmbeddedEngine.open`."""
    _check_exists(layout)
    lock = WriterLock.for_checking(layout, patience=_CHECK_PATIENCE)
    try:
        contents = lock is not None and is_small(layout)
        if lock is not None:
            check_seal(layout, contents=contents)
        store = Store.open(layout, writable=False)
        try:
            caches = Caches(layout, store, store.settings())
            if lock is not None:
                caches.check_and_repair(contents=contents)
            else:
                caches.load_as_is()
        except BaseException:
            store.database.close()
            raise
    finally:
        if lock is not None:
            lock.release()
    return Opened(layout, store, caches, None)


def drop(layout: Layout) -> None:
    """Delete an index; see :meth:`EmbeddedEngine.drop`."""
    if not layout.exists():
        return
    lock = WriterLock.for_writing(layout)
    with disk_errors(f"deleting {layout.folder}"):
        try:
            # The database first: without it the rest is no index.
            parts = [part for part in layout.parts() if part not in (layout.lock, layout.owner)]
            for part in sorted(parts, key=lambda part: part != layout.database):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink(missing_ok=True)
        finally:
            lock.release()
        layout.lock.unlink(missing_ok=True)
        if not any(layout.folder.iterdir()):
            layout.folder.rmdir()
