"""Access to an index's files that follows no links: only plain files inside the folder are opened.

An index may come from anywhere. Through a symbolic link in it, a repair could write to any file of the reader's, and
a pipe could block the reader for ever; so anything that is not a plain file is neither opened nor written through.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.errors import CorruptIndex, CorruptModel, StorageError
from hybrid_search.storage import aside_of, disk_errors, recover_folder, replace_folder

__all__ = [
    "append_to",
    "check_own",
    "copy_model",
    "emptied",
    "foreign",
    "is_plain",
    "made",
    "model_folder",
    "overwrite_own",
    "own_folder",
    "read_own",
    "recover_model",
    "remove",
    "remove_unfinished",
]


_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


def is_plain(path: Path) -> bool:
    """Return whether a path is a plain file; a link to one is not."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def foreign(folder: Path) -> list[str]:
    """Return a message for each entry of a folder that is no plain file, or one if the folder itself is a link."""
    if folder.is_symlink():
        return [f"{folder} is a symbolic link"]
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_file(follow_symlinks=False))
    return [f"{folder / name} is {'a symbolic link' if (folder / name).is_symlink() else 'no file'}" for name in names]


def check_own(layout: Layout) -> None:
    """Check the files that are opened in place (database and lock).

    :raises CorruptIndex: if one is not a plain file, such as a link.
    """
    beside = [layout.database.with_name(f"{layout.database.name}{end}") for end in ("-wal", "-shm", "-journal")]
    for path in (layout.database, *beside, layout.lock):
        if os.path.lexists(path) and not is_plain(path):
            what = "a symbolic link, which is not followed" if path.is_symlink() else "no plain file"
            raise CorruptIndex(
                f"{path} is {what}; put the file itself there (cp -rL copies a folder with what its links stand for), "
                f"or restore the index from a backup"
            )


def read_own(path: Path, most: int) -> bytes:
    """Read a plain file of at most ``most`` bytes.

    :raises OSError: if it is missing, longer, or not a plain file.
    """
    with open(os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAITING), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise OSError(f"{path} is no file of at most {most} bytes")
        return file.read(found.st_size)  # not most: read allocates as many bytes as it is asked for


def overwrite_own(path: Path, data: bytes) -> None:
    """Let a plain file hold these bytes, in place, as replacing it costs more; not forced to the disk.

    A link is replaced, and so is a file with further names, such as that of a backup by hard links.

    :raises OSError: if that fails.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > len(data):
            remove(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _NO_LINK | _NO_WAITING, 0o666)
    try:
        os.write(descriptor, data)  # of a few bytes all are written, or an error is raised
    finally:
        os.close(descriptor)


def own_folder(folder: Path) -> None:
    """Create a cache's folder if it is missing; a link in its place is replaced.

    :raises OSError: if that fails.
    """
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def emptied(folder: Path) -> None:
    """Empty a folder; the targets of links in it stay.

    :raises OSError: if that fails.
    """
    remove(folder)
    folder.mkdir(parents=True)


def remove(path: Path) -> None:
    """Remove a file, a link (but not its target) or a folder, if it exists.

    :raises OSError: if that fails.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def made(path: Path) -> BinaryIO:
    """Open a new file to write, replacing any of this name; processes that have the old file open keep it.

    :raises OSError: if that fails.
    """
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666), "w+b")


def append_to(path: Path, size: int) -> BinaryIO:
    """Open a file to write after its first ``size`` bytes; a new file if that is 0.

    :raises OSError: if it is not a plain file, or the system refuses.
    """
    if not size:
        return made(path)
    file = _opened(path)
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no plain file")
        if found.st_nlink > 1:  # a hard link, perhaps from somebody's backup
            file = _own_copy(file, path, size)
        file.truncate(size)
        file.seek(size)
    except BaseException:
        file.close()
        raise
    return file


def _opened(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_RDWR | _NO_LINK | _NO_WAITING), "r+b")


def _own_copy(file: BinaryIO, path: Path, size: int) -> BinaryIO:
    part = path.with_name(f".{path.name}.part")
    copy = made(part)
    with file:
        for start in range(0, size, 1 << 20):
            copy.write(file.read(min(1 << 20, size - start)))
    os.replace(part, path)
    return copy


def copy_model(layout: Layout, files: Sequence[Path]) -> None:
    """Copy files into the index's model folder, atomically replacing its content.

    :raises CorruptModel: if one is not a plain file, as the target of a link may not be meant for others.
    :raises StorageError: if they can't be copied; the old content stays.
    """
    for file in files:
        if file.is_symlink() or (file.exists() and not is_plain(file)):
            raise CorruptModel(f"{file} is no plain file of the model; copy the model with `cp -rL` and give the copy")
    with disk_errors(f"copying the model into {layout.folder}"):
        new = Path(tempfile.mkdtemp(prefix=f".{layout.model.name}.", dir=layout.folder))
        try:
            for file in files:
                shutil.copyfile(file, new / file.name)
            new.chmod(layout.folder.stat().st_mode & 0o777)  # mkdtemp's folders are private to their owner
            replace_folder(new, layout.model)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def recover_model(layout: Layout) -> None:
    """Restore the model if a crash came between the two renames. Requires the writer lock.

    :raises StorageError: if it can't be moved.
    """
    recover_folder(layout.model)


def model_folder(layout: Layout) -> Path | None:
    """Return the model folder, None if no model is stored.

    :raises CorruptIndex: if it is a link, or contains anything but plain files.
    """
    if found := foreign(layout.model):
        raise CorruptIndex(
            f"{found[0]}; load the data again with recreate=True and model=PATH, or restore it from a backup"
        )
    return layout.model if layout.model.is_dir() else None


def remove_unfinished(layout: Layout) -> None:
    """Remove files that a crash left unfinished. Requires the writer lock, as only its holder writes such files.

    What can't be removed (a folder of another user) stays, which does no harm.
    """
    with contextlib.suppress(StorageError):
        recover_model(layout)
    for path in _unfinished(layout):
        with contextlib.suppress(OSError):
            remove(path)


def _unfinished(layout: Layout) -> Iterator[Path]:
    for part in layout.parts():
        if part.name.startswith(".") and part != aside_of(layout.model):
            yield part
    for folder in (layout.lexical, layout.forward, layout.dense):
        if folder.is_dir() and not folder.is_symlink():
            # tantivy's own dot file, .managed.json, does not match.
            yield from sorted(folder.glob(".*.part"))
