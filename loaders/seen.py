"""A compact set of ids and content hashes, to detect repeated documents, queries and rejections.

Made for collections of millions: 12 bytes per slot of the table.
"""

from __future__ import annotations

from array import array
from typing import Literal

__all__ = ["Seen"]

_SLOTS = 1 << 10
_FULL = 0.6  # Linear probing degrades fast above this load.
_ID_BITS = (1 << 64) - 1
_CONTENT_BITS = (1 << 32) - 1


class Seen:
    """An open-addressing hash table of id hashes (64 bits) and content hashes (32 bits).

    For 8.8 million ids it takes 200 MB, a Python dict over 1 GB. The probability that any two of n ids collide is
    n² / 2⁶⁵, which is 2 in a million for such a collection.
    """

    def __init__(self) -> None:
        self._ids = array("Q", bytes(8 * _SLOTS))
        self._contents = array("I", bytes(4 * _SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, id: str, content: str = "") -> Literal["new", "same", "other"]:
        """Add an id; returns whether it is new, was seen with the same content, or was seen with other content."""
        # 0 marks a free slot. hash() is randomised per process, so no input can be crafted to collide.
        key = (hash(id) & _ID_BITS) or 1
        mark = hash(content) & _CONTENT_BITS
        slot = self._slot(key)
        if self._ids[slot] == key:
            return "same" if self._contents[slot] == mark else "other"
        self._ids[slot], self._contents[slot] = key, mark
        self._count += 1
        if self._count > _FULL * len(self._ids):
            self._grow()
        return "new"

    def _slot(self, key: int) -> int:
        mask = len(self._ids) - 1
        slot = key & mask
        while self._ids[slot] not in (0, key):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        ids, contents = self._ids, self._contents
        self._ids = array(ids.typecode, bytes(2 * ids.itemsize * len(ids)))
        self._contents = array(contents.typecode, bytes(2 * contents.itemsize * len(contents)))
        for key, mark in zip(ids, contents, strict=True):
            if key:
                slot = self._slot(key)
                self._ids[slot], self._contents[slot] = key, mark
