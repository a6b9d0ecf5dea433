"""Finds the files of a folder, in the order of their names; counts what is passed over."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hybrid_search.loaders.files.page import LARGEST, Unreadable

__all__ = ["Found", "find", "read"]

_ASSETS = """
    .bmp .css .eot .flac .gif .ico .inv .jpeg .jpg .js .less .map .mjs .mo .mov .mp3 .mp4 .o .ogg .otf .png .pyc .scss
    .so .svg .tif .tiff .ttf .wasm .wav .webm .webp .woff .woff2
"""
"""Suffixes of files that are parts of pages and programs, and nothing to read."""


class Found(NamedTuple):
    """A file: its path, and the path relative to the folder, with slashes."""

    path: Path
    name: str


def find(root: Path, passed_over: Counter[str]) -> Iterator[Found]:
    """Yield the files below a folder, or the single file given.

    Hidden files and folders, links, what is no file, and the parts of pages are counted in ``passed_over``.

    :raises OSError: if the folder itself can't be read.
    """
    if not root.is_dir():
        yield Found(root, root.name)
        return
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            if folder == root:
                raise
            passed_over["folders"] += 1
            continue
        below = []
        for entry in entries:
            if why := _passed_over(entry):
                passed_over[why] += 1
            elif entry.is_dir(follow_symlinks=False):
                below.append((Path(entry.path), f"{prefix}{entry.name}/"))
            else:
                yield Found(Path(entry.path), f"{prefix}{entry.name}")
        pending += reversed(below)


def _passed_over(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_symlink():  # a link leads out of the folder, or to what is read in its own place
        return "links"
    if entry.is_dir(follow_symlinks=False):
        return ""
    if not entry.is_file(follow_symlinks=False):
        return "special"
    return "assets" if os.path.splitext(entry.name)[1].lower() in _ASSETS.split() else ""


def read(path: Path, *, is_given: bool) -> bytes:
    """Read a file as a whole.

    :param is_given: the user named this file, so that a link may be followed.
    :raises Unreadable: if it is larger than is read, or no file (any more).
    :raises OSError: if the system can't read it.
    """
    # Without waiting: what was a file may be a pipe by now.
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if is_given else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("no file")
        if about.st_size > LARGEST:
            raise Unreadable(f"{about.st_size >> 20:,} MiB; at most {LARGEST >> 20} are read")
        return file.read(LARGEST + 1)
