"""What a cache folder should contain: each file's size and checksum, and the generation of the store it has reached."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from hybrid_search.engines.embedded.store.own_files import is_plain, read_own
from hybrid_search.storage import atomic_write_bytes

__all__ = ["Manifest", "checksum_of", "listed"]

_NAME = "manifest.json"
_CHUNK = 1 << 20
_LARGEST = 64 << 20
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Manifest:
    """A cache's description of itself, written last.

    :ivar generation: the generation of the store that the cache has reached.
    :ivar last_row: every row up to this one was added, or was deleted before it could be.
    :ivar files: name -> (size in bytes, CRC-32).
    :ivar clean: False while the cache is being changed; files may then differ from those listed.
    :ivar extra: the cache's own values.
    """

    generation: int = 0
    last_row: int = 0
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    clean: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read a folder's manifest; None if it is missing or damaged, and the cache must be rebuilt."""
        if folder.is_symlink():
            return None
        try:
            outer = json.loads(read_own(folder / _NAME, _LARGEST))
            if zlib.crc32(outer["body"].encode()) != outer["checksum"]:
                return None
            body = json.loads(outer["body"])
            body["files"] = {name: (int(size), int(crc)) for name, (size, crc) in body["files"].items()}
            if not all(_is_name(name) and size >= 0 for name, (size, _) in body["files"].items()):
                return None
            read = cls(**body)
            return read if read.is_possible() else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def is_possible(self) -> bool:
        """Return whether the numbers are in the valid range."""
        return all(isinstance(one, int) and 0 <= one < _NEVER for one in (self.generation, self.last_row))

    def write(self, folder: Path) -> None:
        """Write the manifest atomically.

        :raises StorageError: if it can't be written.
        """
        body = json.dumps(asdict(self), sort_keys=True)
        outer = {"body": body, "checksum": zlib.crc32(body.encode())}
        atomic_write_bytes(folder / _NAME, json.dumps(outer).encode())

    def problems(self, folder: Path, *, contents: bool) -> list[str]:
        """Compare the files with those listed; return the differences.

        :param contents: compare checksums, not only sizes.
        """
        found = []
        for name, (size, crc) in sorted(self.files.items()):
            path = folder / name
            try:
                actual = path.lstat().st_size
                if not is_plain(path):
                    found.append(f"{path} is no plain file")
                elif actual != size:
                    found.append(f"{path} has {actual} bytes instead of {size}")
                elif contents and checksum_of(path) != crc:
                    found.append(f"{path} is not what was written (checksum)")
            except OSError as error:
                found.append(f"{path}: {error.strerror}")
        return found


def _is_name(name: str) -> bool:
    """Return whether a name is a plain file name, not a path: the manifest may come from anywhere."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def checksum_of(path: Path, limit: int | None = None) -> int:
    """Return the CRC-32 of a file's first ``limit`` bytes, or of all of it."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_CHUNK if limit is None else min(_CHUNK, limit)):
            crc = zlib.crc32(block, crc)
            limit = None if limit is None else limit - len(block)
    return crc


def listed(
    folder: Path, names: Iterable[str], known: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, tuple[int, int]]:
    """Return name -> (size, CRC-32) of files; those in ``known`` with the same size are not read again."""
    files = {}
    for name in names:
        size = (folder / name).stat().st_size
        if known and name in known and known[name][0] == size:
            files[name] = known[name]
        else:
            files[name] = (size, checksum_of(folder / name))
    return files
