"""Decompresses files as streams, with bounded memory however large the unpacked content is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any, Protocol, cast

from hybrid_search.errors import DataError, MissingExtra
from hybrid_search.loaders.kinds import Packing

__all__ = ["is_damage", "unpacked"]

_STEP = 1 << 16
_XZ_MEMORY = 256 << 20
"""Most memory an xz stream may require; `xz -9` needs 65 MiB."""

_ZSTD_STEP = 1 << 10
"""Compressed bytes per step: the only way to bound the output of the package zstandard, here to 32 MiB."""

_MAC_FORKS = "__MACOSX/"


class _Damaged(Exception):
    """The compressed data are damaged."""


class _Decompressor(Protocol):
    """The interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def unpacked(stream: IO[bytes], packing: Packing, name: str) -> IO[bytes]:
    """Return a stream of the unpacked content; concatenated compressed streams are read as one.

    :param name: of the file, for messages.
    :raises DataError: if it is an archive of several files, or one that needs a password.
    :raises MissingExtra: if the package for the compression is not installed.
    """
    match packing:
        case "gzip":
            return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
        case "bzip2":
            return _buffered(_Unpacked(stream, bz2.BZ2Decompressor))
        case "xz":
            return _buffered(_Unpacked(stream, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)))
        case "zstd":
            return _buffered(_Unpacked(stream, _zstd(), _ZSTD_STEP))
        case "zip":
            return _only_member(stream, name)


def is_damage(error: Exception) -> bool:
    """Return whether an error means that a compressed stream is truncated or damaged."""
    known = (_Damaged, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
    # zstandard may not be installed, so its error class is recognised by name.
    return isinstance(error, known) or type(error).__name__ == "ZstdError"


class _Unpacked(io.RawIOBase):
    """Reads concatenated compressed streams one after the other."""

    def __init__(self, packed: IO[bytes], new: Callable[[], _Decompressor], step: int = _STEP) -> None:
        self._packed = packed
        self._new = new
        self._step = step
        self._current = new()
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._next())
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._packed.close()
        super().close()

    def _next(self) -> bytes:
        packed = b""
        if self._current.eof:
            packed = self._following()
            if not packed:
                self._ended = True
                return b""
            self._current = self._new()
        elif self._current.needs_input:
            packed = self._packed.read(self._step)
            if not packed:
                raise EOFError("the file ends inside a packed stream")
        try:
            return self._current.decompress(packed, _STEP)
        except OSError as error:  # of bz2; disk errors are raised by the read above
            raise _Damaged(str(error)) from error

    def _following(self) -> bytes:
        """Return the beginning of the next stream, skipping the zeros that xz may pad with; empty at the end."""
        rest = self._current.unused_data.lstrip(b"\0")
        while not rest:
            read = self._packed.read(self._step)
            if not read:
                return b""
            rest = read.lstrip(b"\0")
        return rest


class _ZstandardFrame:
    """One zstd frame, decompressed by the package ``zstandard``."""

    def __init__(self, module: Any) -> None:
        self._frame = module.ZstdDecompressor().decompressobj()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return bytes(self._frame.decompress(data))


def _zstd() -> Callable[[], _Decompressor]:
    if sys.version_info >= (3, 14):
        return cast(Callable[[], _Decompressor], import_module("compression.zstd").ZstdDecompressor)
    try:
        module = import_module("zstandard")
    except ImportError as error:
        raise MissingExtra("zstandard", "zstd") from error
    return lambda: _ZstandardFrame(module)


def _only_member(stream: IO[bytes], name: str) -> IO[bytes]:
    if not stream.seekable():
        raise DataError(f"{name}: a zip archive can't be read from a stream; give the file's path, or unpack it")
    archive = zipfile.ZipFile(stream)
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith(_MAC_FORKS)]
    if len(members) != 1:
        raise DataError(
            f"{name} is a zip archive of {len(members)} files; unpack it and give the folder, or one of the files"
        )
    try:
        return archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or a compression that zipfile does not support
        raise DataError(f"{name} is a zip archive that can't be unpacked here ({error}); unpack it first") from error


def _buffered(raw: io.RawIOBase) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(raw, _STEP))
