"""Creating, opening and deleting an index folder."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hybrid_search.analysis import analyzer
from hybrid_search.engines.embedded.search.caches import Caches
from hybrid_search.engines.embedded.search.faiss_index import check_factory
from hybrid_search.engines.embedded.store.checks import break_seal, check_commits, check_seal, is_small, noted
from hybrid_search.engines.embedded.store.database import Database
from hybrid_search.engines.embedded.store.layout import FORMAT_VERSION, Layout
from hybrid_search.engines.embedded.store.locks import WriterLock, nobody_writes
from hybrid_search.engines.embedded.store.own_files import check_own, remove, remove_unfinished
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.engines.embedded.store.writing import create_store
from hybrid_search.errors import (
    ConfigError,
    CorruptIndex,
    HybridSearchError,
    IndexExists,
    IndexNotFound,
    StorageError,
    UsageError,
)
from hybrid_search.settings.index import IndexSettings
from hybrid_search.storage import (
    aside_of,
    check_outside_indexes,
    disk_errors,
    make_folder,
    recover_folder,
    replace_folder,
    sync_folder,
)

__all__ = [
    "Opened",
    "check_exists",
    "create",
    "drop",
    "is_finished",
    "open_to_read",
    "open_to_write",
    "replacement",
]

_LOG = logging.getLogger(__name__)

_CHECK_PATIENCE = 2.0
_POLL = 0.005


@dataclass(frozen=True, slots=True)
class Opened:
    """An open index; ``lock`` is None if it was opened to read."""

    layout: Layout
    store: Store
    caches: Caches
    lock: WriterLock | None


def create(layout: Layout, settings: IndexSettings, *, exist_ok: bool) -> Opened:
    """Create an index; see :meth:`EmbeddedEngine.create`."""
    _check_settings(settings)
    if layout.folder.is_file():
        raise UsageError(f"{layout.folder} is a file; give a folder for the index")
    check_outside_indexes(layout.folder)
    _recover(layout)
    _check_no_strangers(layout)
    with disk_errors(f"creating {layout.folder}"):
        make_folder(layout.folder)
        sync_folder(layout.folder.parent)  # it may be there because an attempt made it, and then failed or was killed
    lock = WriterLock.for_writing(layout)
    try:
        _clear_new(layout)
        if is_finished(layout):
            if not exist_ok:
                raise IndexExists(f"{layout.folder}: there is an index already; open it, or delete it first")
            return _opened_to_write(layout, lock, same_as=settings)
        check_own(layout)
        database = Database(layout.database, writable=True, create=True)
        try:
            create_store(database, settings)
        finally:
            database.close()
        return _opened_to_write(layout, lock)
    except BaseException:
        lock.release()
        raise


def _check_no_strangers(layout: Layout) -> None:
    if strangers := layout.strangers():
        raise UsageError(
            f"{layout.folder} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder"
        )


def _check_settings(settings: IndexSettings) -> None:
    analyzer(settings.analyzer)
    check_factory(settings.faiss, settings.dimension)
    if settings.format_version != FORMAT_VERSION:
        raise ConfigError(f"format_version is {settings.format_version}; this version makes {FORMAT_VERSION}")


def is_finished(layout: Layout) -> bool:
    """Return whether there is a finished index; a crash may have left an unfinished one."""
    _recover(layout)
    if not layout.exists():
        return False
    try:
        Store.open(layout, writable=False).database.close()
    except IndexNotFound:
        return False
    return True


def open_to_write(layout: Layout) -> Opened:
    """Open an index to change it; see :meth:`EmbeddedEngine.open`."""
    check_exists(layout)
    lock = WriterLock.for_writing(layout)
    try:
        _clear_new(layout)
        return _opened_to_write(layout, lock)
    except BaseException:
        lock.release()
        raise


def _recover(layout: Layout) -> None:
    """Restore the index if a crash came between the two renames of a :func:`replacement`, but not under a living one.

    :raises StorageError: if it can't be moved.
    """
    folder = layout.folder.resolve()
    if not folder.name:  # the root of the file system has no name, and nothing beside it
        return
    aside, until = Layout(aside_of(folder)), time.monotonic() + _CHECK_PATIENCE
    while aside.folder.exists():
        with nobody_writes(aside) as is_left:  # whoever replaces the index holds its lock, which has moved along
            if is_left or (time.monotonic() > until and not folder.exists()):
                recover_folder(folder)
                return
        if folder.exists():
            return
        time.sleep(_POLL)


def _clear_new(layout: Layout) -> None:
    """Remove what a killed :func:`replacement` left beside an index. Requires the writer lock."""
    with contextlib.suppress(OSError):
        remove(layout.new)


def check_exists(layout: Layout) -> None:
    """Check that a folder contains an index, finished or not.

    :raises IndexNotFound: if it does not.
    """
    _recover(layout)
    if layout.exists():
        return
    _recover(layout)  # it may have been between the two renames since
    if layout.exists():
        return
    if (layout.folder / "model.json").is_file():
        raise IndexNotFound(
            f"{layout.folder}: this is a model; give an index (`hybrid-search load` makes one of a data set, with "
            f"--model {layout.folder} --to LOCATION)"
        )
    raise IndexNotFound(
        f"{layout.folder}: no index here (looked for {layout.database.name}); check the path, or load data into it"
    )


def _opened_to_write(layout: Layout, lock: WriterLock, *, same_as: IndexSettings | None = None) -> Opened:
    contents = is_small(layout)
    check_seal(layout, contents=contents)
    least = noted(layout)
    store = Store.open(layout, writable=True)
    try:
        check_commits(store, least)
        settings = store.settings()
        if same_as is not None:
            _check_same(layout, settings, same_as)
        break_seal(layout)
        remove_unfinished(layout)
        caches = Caches(layout, store, settings)
        caches.check_and_repair(contents=contents)
    except BaseException:
        store.database.close()
        raise
    return Opened(layout, store, caches, lock)


def _check_same(layout: Layout, existing: IndexSettings, requested: IndexSettings) -> None:
    for name in type(existing).__struct_fields__:
        ours, theirs = getattr(existing, name), getattr(requested, name)
        if name == "fields":
            ours = {field: kind for field, kind in ours.items() if field in theirs}
        if ours != theirs and name not in ("weighed", "declared"):  # which change later
            raise IndexExists(
                f"{layout.folder}: the index has {name} {ours!r}, asked for {theirs!r}; "
                f"use another folder, or delete the index first"
            )


def open_to_read(layout: Layout) -> Opened:
    """Open an index to search it; see :meth:`EmbeddedEngine.open`."""
    while True:
        before = _which(layout)
        try:
            opened = _opened_to_read(layout)
        except (StorageError, CorruptIndex):
            if _which(layout) == before:
                raise
            continue  # another index has just taken its place
        if not opened.store.database.is_replaced():
            return opened
        opened.store.database.close()  # its caches may be those of the other one


def _which(layout: Layout) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = layout.database.stat()
        return found.st_dev, found.st_ino
    return None


def _opened_to_read(layout: Layout) -> Opened:
    check_exists(layout)
    lock = WriterLock.for_checking(layout, patience=_CHECK_PATIENCE)
    try:
        # Without the lock another process is writing, except in a read-only folder, where nobody can be.
        contents = (lock is not None or not os.access(layout.folder, os.W_OK)) and is_small(layout)
        if contents or lock is not None:
            check_seal(layout, contents=contents)
        least = noted(layout)
        store = Store.open(layout, writable=False)
        try:
            check_commits(store, least)
            caches = Caches(layout, store, store.settings())
            if lock is not None:
                remove_unfinished(layout)
            if lock is None or not _repaired(layout, caches, contents=contents):
                caches.load_as_is(contents=contents)
        except BaseException:
            store.database.close()
            raise
    finally:
        if lock is not None:
            lock.release()
    return Opened(layout, store, caches, None)


def _repaired(layout: Layout, caches: Caches, *, contents: bool) -> bool:
    try:
        caches.check_and_repair(contents=contents)
    except StorageError as error:
        _LOG.warning("%s: what has to be repaired can't be written (%s); what is there is used", layout.folder, error)
        return False
    return True


@contextlib.contextmanager
def replacement(folder: Path) -> Iterator[Path]:
    """Lend a folder in which to build an index that replaces the one in ``folder`` when the block ends.

    Until then, and if the block raises, the old index stays unchanged, and no other process can write to it.
    If there is no index yet, ``folder`` itself is lent.

    :raises IndexLocked: if another process is writing to the old index.
    :raises UsageError: if the folder holds other files too, or lies inside another index.
    :raises StorageError: if the folders can't be exchanged; the old index then stays.
    """
    layout = Layout(folder.resolve())
    folder = layout.folder
    check_outside_indexes(folder)
    _recover(layout)
    if not layout.exists():
        yield folder
        return
    _check_no_strangers(layout)
    lock = WriterLock.for_writing(layout)
    try:
        _clear_new(layout)
        yield layout.new
        with disk_errors(f"giving {layout.new} the rights of {folder}"):
            layout.new.chmod(folder.stat().st_mode & 0o777)
        replace_folder(layout.new, folder)
    except HybridSearchError as error:
        error.args = (f"{error}; the index in {folder} is as it was",)
        raise
    finally:
        _clear_new(layout)
        lock.release()


def drop(layout: Layout) -> None:
    """Delete an index; see :meth:`EmbeddedEngine.drop`."""
    if not layout.exists():
        return
    lock = WriterLock.for_writing(layout)
    with disk_errors(f"deleting {layout.folder}"):
        try:
            # The database first: without it the other files don't count as an index.
            parts = [part for part in layout.parts() if part not in (layout.lock, layout.owner)]
            for part in sorted(parts, key=lambda part: part != layout.database):
                remove(part)
        finally:
            lock.release()
        layout.lock.unlink(missing_ok=True)
        if not any(layout.folder.iterdir()):
            layout.folder.rmdir()
