"""Copies of a small folder, as it stands at a moment, and a place for them that is quick."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["copied", "names_in", "quick_folder"]

_MEMORY = "/dev/shm"
_NEEDED = 1 << 30


def copied(source: str | Path, target: str | Path) -> None:
    """Copy a folder with all that is in it: contents and modes, no times."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            to = os.path.join(target, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), to)
            elif entry.is_dir():
                copied(entry.path, to)
            else:
                _copied_file(entry.path, to)


def _copied_file(source: str, target: str) -> None:
    descriptor = os.open(source, os.O_RDONLY)
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            while block := os.read(descriptor, 1 << 20):
                os.write(out, block)
        finally:
            os.close(out)
    finally:
        os.close(descriptor)


def names_in(folder: Path) -> list[str]:
    """Return everything below a folder, relative to it; a folder's name ends with a slash."""
    found = []
    for where, folders, files in os.walk(folder):
        begin = os.path.relpath(where, folder)
        found += [os.path.normpath(f"{begin}/{name}") + "/" for name in folders]
        found += [os.path.normpath(f"{begin}/{name}") for name in files]
    return sorted(found)


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """Lend an empty folder in memory where there is room, else one below ``otherwise``."""
    room = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=_MEMORY if room else otherwise) as folder:
        yield Path(folder)
