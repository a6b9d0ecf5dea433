"""Stores a teacher's vectors by the hash of their text, so that no text is encoded twice.

A store is a folder of safetensors shards, each with ``keys`` (n, 16) uint8, the first half of each text's SHA-256, and
``vectors`` (n, d) float16. Vectors made elsewhere can be given as one such file (:func:`write_vectors`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hybrid_search.errors import DataError
from hybrid_search.storage import atomic_write_bytes, disk_errors

__all__ = ["VectorStore", "write_vectors"]

KEY_BYTES = 16

Float32 = NDArray[np.float32]


class VectorStore:
    """Vectors by text. Shards that another process adds are only seen after opening the store again."""

    def __init__(self, source: Path) -> None:
        """Open a folder of shards, which need not exist, or a single file.

        :raises DataError: if a shard can't be read, or shards differ in the length of their vectors.
        """
        self._folder = source
        self._shards = [source] if source.is_file() else sorted(source.glob("*.safetensors"))
        self._positions: dict[bytes, tuple[int, int]] = {}  # key -> (shard, row)
        self.dimension = 0
        for shard, path in enumerate(self._shards):
            self._learn(shard, *_read_keys(path))

    def __len__(self) -> int:
        return len(self._positions)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Return the distinct texts without a vector, in the given order."""
        return [text for text in dict.fromkeys(texts) if _key(text) not in self._positions]

    def add(self, texts: Sequence[str], vectors: Float32) -> None:
        """Store vectors (n, d) in a new shard; durable when this returns.

        :raises StorageError: if it can't be written.
        """
        path = self._folder / f"{uuid4().hex}.safetensors"
        write_vectors(path, texts, vectors)
        self._shards.append(path)
        self._learn(len(self._shards) - 1, *_read_keys(path))

    def get(self, texts: Sequence[str]) -> tuple[Float32, NDArray[np.bool_]]:
        """Return vectors (n, d) float32, with zero rows for unknown texts, and a mask (n,) of the known texts."""
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        known = np.zeros(len(texts), dtype=np.bool_)
        by_shard: dict[int, list[tuple[int, int]]] = {}
        for number, text in enumerate(texts):
            if position := self._positions.get(_key(text)):
                shard, row = position
                by_shard.setdefault(shard, []).append((number, row))
                known[number] = True
        for shard, pairs in by_shard.items():
            numbers, rows = np.array(pairs).T
            found[numbers] = _read_vectors(self._shards[shard])[rows]
        return found, known

    def _learn(self, shard: int, keys: NDArray[np.uint8], dimension: int) -> None:
        if self.dimension not in (0, dimension):
            raise DataError(
                f"{self._shards[shard]} has vectors of {dimension} numbers, the others have {self.dimension}; "
                "keep one teacher's vectors in a folder"
            )
        self.dimension = dimension
        data = keys.tobytes()
        for row in range(len(keys)):
            self._positions[data[row * KEY_BYTES : (row + 1) * KEY_BYTES]] = (shard, row)


def write_vectors(path: Path, texts: Sequence[str], vectors: Float32) -> None:
    """Write the vectors (n, d) of n texts to a file that can be given as a teacher; stored as float16.

    :param path: must end in ``.safetensors``.
    :param texts: documents in searchable form (title, a space, text), queries, single words.
    :raises StorageError: if the file can't be written.
    """
    keys = np.frombuffer(b"".join(map(_key, texts)), dtype=np.uint8).reshape(-1, KEY_BYTES)
    atomic_write_bytes(path, save({"keys": keys, "vectors": vectors.astype(np.float16)}))


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


def _read_keys(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Return a shard's keys (n, 16) and the dimension of its vectors, without reading the vectors."""
    try:
        with disk_errors(f"reading {path}"), safe_open(path, framework="numpy") as file:
            keys, shape = file.get_tensor("keys"), tuple(file.get_slice("vectors").get_shape())
    except SafetensorError as error:
        raise DataError(f"{path} is not a file of vectors by text ({error}); delete it, or write it again") from error
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or len(shape) != 2 or len(keys) != shape[0]:
        raise DataError(
            f"{path} has keys {keys.shape} and vectors {shape}; expected (n, {KEY_BYTES}) and (n, d): "
            "hybrid_search.write_vectors writes such a file"
        )
    return keys, int(shape[1])


def _read_vectors(path: Path) -> NDArray[np.float16]:
    with disk_errors(f"reading {path}"), safe_open(path, framework="numpy") as file:
        vectors: NDArray[np.float16] = file.get_tensor("vectors")
    return vectors
