"""Which ids were seen, and whether with the same content: each document, query and rejection comes once.

Made for collections of millions: 12 bytes a table slot.
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

    A Python dict of 8.8 million ids takes above 1 GB, this takes 200 MB. Two ids fall together with a probability of
    n² / 2⁶⁵, which is 2 in a million for such a collection.
    """

    def __init__(self) -> None:
        self._ids = array("Q", bytes(8 * _SLOTS))
        self._contents = array("I", bytes(4 * _SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, id: str, content: str = "") -> Literal["new", "same", "other"]:
        """Note an id; tell whether it is new, was seen with this content, or was seen with other content."""
        # 0 marks a free slot. hash() is keyed by process, so no input can be made to collide.
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
