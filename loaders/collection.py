"""Random access to the lines of a TSV file of millions of passages, by id or by text, without holding the texts."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import StorageError
from hybrid_search.loaders.formats import Reject, read_tsv
from hybrid_search.loaders.opening import open_file
from hybrid_search.types import Document, text_hash

__all__ = ["COLUMNS", "CollectionIndex", "by_id", "by_text"]

COLUMNS = ("pid", "text")

Key = Callable[[str, str], str]
"""(pid, text) -> the key by which a passage is looked up."""


def by_id(pid: str, text: str) -> str:
    """Look passages up by their id."""
    return pid


def by_text(pid: str, text: str) -> str:
    """Look passages up by the hash of their normalised text."""
    return text_hash(text)


class CollectionIndex:
    """Byte offsets of a ``pid<TAB>text`` file, sorted by a hash of the key: 16 bytes a passage.

    Built in one pass over the file. A compressed file can't be read at an offset, so it is unpacked once into an
    unnamed temporary file (in ``TMPDIR``), which is deleted with this object. Of passages with the same key, the first
    is found.

    :raises DataError: if the file can't be read to its end.
    :raises StorageError: if there is no room to unpack it.
    """

    def __init__(self, path: Path, key: Key, reject: Reject) -> None:
        self._key = key
        hashes, offsets = array("q"), array("q")
        for line, (pid, text) in read_tsv(path, COLUMNS, reject):
            hashes.append(hash(key(pid, text)))
            offsets.append(line.offset)
        order = np.argsort(np.frombuffer(hashes, dtype=np.int64), kind="stable")
        self._hashes: NDArray[np.int64] = np.frombuffer(hashes, dtype=np.int64)[order]
        self._offsets: NDArray[np.int64] = np.frombuffer(offsets, dtype=np.int64)[order]
        self._stream = _seekable(path)
        weakref.finalize(self, self._stream.close)

    def get(self, key: str) -> Document | None:
        """Return the first passage with this key, or None."""
        hashed = hash(key)
        row = int(np.searchsorted(self._hashes, hashed))
        while row < len(self._hashes) and self._hashes[row] == hashed:
            self._stream.seek(int(self._offsets[row]))
            raw = self._stream.readline().removeprefix(b"\xef\xbb\xbf")
            pid, _, text = raw.rstrip(b"\r\n").decode().partition("\t")
            if self._key(pid, text) == key:
                return Document(pid, text)
            row += 1
        return None


def _seekable(path: Path) -> IO[bytes]:
    opened = open_file(path)
    if opened.is_plain:
        return opened.stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the index
    try:
        with opened:
            shutil.copyfileobj(opened.stream, unpacked)
    except OSError as error:
        unpacked.close()
        raise StorageError(f"{path} can't be unpacked into {tempfile.gettempdir()}: {error}; set TMPDIR") from error
    return unpacked
