"""Crash-safe writing of files: afterwards there is the old content or the new; with errors that say what failed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from filelock import FileLock
from platformdirs import user_cache_path

from hybrid_search.errors import StorageError, UsageError

__all__ = [
    "INDEX_FILE",
    "aside_of",
    "atomic_write_bytes",
    "cache_folder",
    "check_outside_indexes",
    "check_writable",
    "disk_errors",
    "folder_lock",
    "make_folder",
    "recover_folder",
    "replace_folder",
    "sha256_of",
    "sync_file",
    "sync_folder",
]

INDEX_FILE = "documents.sqlite"
"""The file by which the folder of an index is known."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder(purpose: str) -> Path:
    """Return the user's cache folder for a purpose: in HYBRID_SEARCH_CACHE, or where the system keeps caches."""
    if chosen := os.environ.get("HYBRID_SEARCH_CACHE"):
        return Path(chosen) / purpose
    return user_cache_path("hybrid-search") / purpose


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Convert an operating-system error to a :class:`StorageError` that says what failed and what to do.

    :param what: the action and its object, such as ``writing models/a/weights.safetensors``.
    :raises StorageError: instead of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror or error}; {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "free some space and try again; what was there before is unchanged"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check the permissions of the folder"
    return "check the path and the disk"


def sync_file(path: Path) -> None:
    """Force a file's content to the disk.

    :raises OSError: if that fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries (names created, renamed, removed) to the disk; does nothing on systems without that.

    :raises OSError: if that fails.
    """
    if os.name == "nt":
        return
    sync_file(path)


def make_folder(path: Path) -> None:
    """Create a folder and missing parents, and force their names to the disk.

    :raises OSError: if that fails.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder of the user's among threads and processes, without a file of ours in it.

    :raises OSError: if it can't be opened.
    """
    if os.name == "nt":  # where folders can't be locked
        with FileLock(cache_folder("locks") / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()}.lock"):
            yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: readers, also after a crash, see the old content or the new, never a part.

    :raises StorageError: if the disk is full or the file can't be written; the old file is unchanged.
    """
    with disk_errors(f"writing {path}"):
        make_folder(path.parent)
        name = path.with_name(f".{path.name}.{uuid4().hex}.part")
        # Not mkstemp, whose files are private to their owner: an index or a model may be read by others.
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def check_outside_indexes(path: Path) -> None:
    """Refuse a place inside an index's folder, also through links: what lies there in addition spoils the index.

    :raises UsageError: names the index.
    :raises StorageError: if the path can't be followed.
    """
    with disk_errors(f"following {path}"):
        inside = next((folder for folder in path.resolve().parents if (folder / INDEX_FILE).is_file()), None)
    if inside is not None:
        raise UsageError(f"{path} lies inside the index {inside}, which is kept by itself; give a place outside of it")


def check_writable(path: Path) -> None:
    """Check that a file can be written, before starting the work for its content; creates its folder.

    :raises StorageError: if it can't; an existing file is unchanged.
    :raises UsageError: if it would lie inside an index's folder.
    """
    check_outside_indexes(path)
    with disk_errors(f"writing {path}"):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{uuid4().hex}.part")
        probe.touch(exist_ok=False)
        probe.unlink()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits.

    :raises StorageError: if the file can't be read.
    """
    with disk_errors(f"reading {path}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_folder(new: Path, target: Path) -> None:
    """Replace ``target`` by the finished folder ``new``, on the same file system.

    The files are forced to the disk first. An existing target is renamed to ``.<name>.old`` and removed last; if a
    crash comes between the two renames, :func:`recover_folder` (called here first) restores it.

    :raises StorageError: if a file can't be moved; the old target then still exists.
    """
    aside = aside_of(target)
    with disk_errors(f"replacing {target}"):
        recover_folder(target)
        for path in sorted(new.rglob("*")):
            if path.is_file():
                sync_file(path)
        sync_folder(new)
        make_folder(target.parent)
        if target.exists():
            os.rename(target, aside)
        try:
            os.rename(new, target)
        except OSError:
            if aside.exists():
                os.rename(aside, target)
            raise
        sync_folder(target.parent)
        shutil.rmtree(aside, ignore_errors=True)


def recover_folder(target: Path) -> None:
    """Complete an interrupted :func:`replace_folder`: restore a missing target, remove a left-over old one.

    :raises StorageError: if a file can't be moved.
    """
    aside = aside_of(target)
    with disk_errors(f"recovering {target}"):
        if not aside.exists():
            return
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, target)


def aside_of(target: Path) -> Path:
    """Return the path where :func:`replace_folder` keeps the old target meanwhile."""
    return target.with_name(f".{target.name}.old")
