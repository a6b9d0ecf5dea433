"""Lots of texts on disk: their word pieces and the teacher's vectors, each lot a file, made once.

An interrupted run goes on with the lots that are missing; training can begin with those that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hybrid_search.errors import DataError
from hybrid_search.protocols import Progress
from hybrid_search.storage import atomic_write_bytes, disk_errors
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.training.general.texts import KINDS, Lot
from hybrid_search.training.teacher.model import Teacher

__all__ = ["LONGEST", "EncodedLot", "encode_lots", "lot_files", "read_lot", "write_lot"]

LONGEST = 256  # word pieces; the teacher reads two fewer, beside its two marks
_AT_ONCE = 2_048


@dataclass(frozen=True, slots=True)
class EncodedLot:
    """Texts as towers are trained on them.

    :ivar kinds: (n,) uint8, places in :data:`~hybrid_search.training.general.texts.KINDS`.
    :ivar pieces: word pieces of all texts end to end, uint16.
    :ivar offsets: (n + 1,) int64; text i has ``pieces[offsets[i]:offsets[i + 1]]``.
    :ivar vectors: (n, d) float16, the teacher's.
    """

    kinds: NDArray[np.uint8]
    pieces: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float16]

    def rows(self, *, passages: bool) -> NDArray[np.intp]:
        """Return the places of the passages, or of the texts like queries."""
        return np.flatnonzero((self.kinds == KINDS.index("passage")) == passages)

    def text(self, row: int, most: int = LONGEST) -> NDArray[np.int32]:
        """Return the first word pieces of a text."""
        return self.pieces[self.offsets[row] : self.offsets[row + 1]][:most].astype(np.int32)


def encode_lots(
    lots: Iterable[Lot], folder: Path, tokenizer: TextTokenizer, teacher: Teacher, progress: Progress, *, most: int = 0
) -> int:
    """Encode the lots that the folder has no file for, and return how many there were.

    :param most: stop after so many; 0 for all.
    :raises StorageError: if a file can't be written; those written before stay.
    """
    made = 0
    for lot in lots:
        path = folder / f"{lot.name}.safetensors"
        if path.exists() or not lot.texts:
            continue
        with progress(f"encoding lot {lot.name} with the teacher ({teacher.name})", len(lot.texts)) as task:
            texts = [text for _, text in lot.texts]
            vectors = []
            for start in range(0, len(texts), _AT_ONCE):
                vectors.append(teacher.encode(texts[start : start + _AT_ONCE]).astype(np.float16))
                task.advance(len(vectors[-1]))
        kinds = [kind for kind, _ in lot.texts]
        write_lot(path, _joined(kinds, tokenizer.encode(texts, LONGEST), np.concatenate(vectors)))
        made += 1
        if made == most:
            break
    return made


def lot_files(folder: Path) -> list[Path]:
    """Return the files of the lots to train on, in the order in which they are made."""
    return sorted(path for path in folder.glob("*-*.safetensors") if not path.name.startswith("."))


def read_lot(path: Path) -> EncodedLot:
    """Read a lot.

    :raises DataError: if it is none, or differs from what was written.
    """
    try:
        with disk_errors(f"reading {path}"):
            parts = load_file(path)
        lot = EncodedLot(parts["kinds"], parts["pieces"], parts["offsets"], parts["vectors"])
        if _digest(lot).tobytes() == parts["digest"].tobytes():
            return lot
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} is no lot of encoded texts ({error}); delete it, and encode again") from error
    raise DataError(f"{path} is damaged; delete it, and encode again")


def write_lot(path: Path, lot: EncodedLot) -> None:
    """Write a lot, replacing what was there.

    :raises StorageError: if the disk is full.
    """
    parts: dict[str, NDArray[Any]] = {
        "kinds": lot.kinds, "pieces": lot.pieces, "offsets": lot.offsets, "vectors": lot.vectors, "digest": _digest(lot)
    }  # fmt: skip
    atomic_write_bytes(path, save(parts))


def _joined(kinds: Sequence[int], encoded: Sequence[NDArray[np.int32]], vectors: NDArray[np.float16]) -> EncodedLot:
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
    pieces = np.concatenate(encoded)
    if len(pieces) and pieces.max() > np.iinfo(np.uint16).max:
        raise DataError(f"the teacher's vocabulary has {pieces.max()} word pieces or more; a lot takes 65,536")
    return EncodedLot(np.array(kinds, dtype=np.uint8), pieces.astype(np.uint16), offsets, vectors)


def _digest(lot: EncodedLot) -> NDArray[np.uint8]:
    sha = hashlib.sha256()
    for part in (lot.kinds, lot.pieces, lot.offsets, lot.vectors):
        sha.update(part.tobytes())
    return np.frombuffer(sha.digest(), dtype=np.uint8)
