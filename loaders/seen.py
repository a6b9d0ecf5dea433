"""Which ids were seen, and whether with the same content: each document, query and rejection comes once.

Made for collections of millions: 12 bytes a table slot.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Literal

from hybrid_search.types import Rejection
from loaders.formats import Line, Reject

__all__ = ["FirstOnly", "Seen", "once"]

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


class FirstOnly:
    """Lets the first record of each id pass; counts the copies, rejects those that come with other content.

    :param counts: gets ``kind`` for each record that passes and ``duplicate_<kind>`` for each copy.
    """

    def __init__(self, kind: str, counts: Counter[str], reject: Reject) -> None:
        self._kind = kind
        self._counts = counts
        self._reject = reject
        self._seen = Seen()

    def passes(self, line: Line, id: str, content: str) -> bool:
        """Tell whether this record is the first of its id."""
        verdict = self._seen.add(id, content)
        if verdict == "other":
            self._reject(line.rejected("id", "the id was seen before with other content; the first record stays"))
            return False
        self._counts[self._kind if verdict == "new" else f"duplicate_{self._kind}"] += 1
        return verdict == "new"


def once(reject: Reject) -> Reject:
    """Pass each rejection on only the first time: a file that is read for several splits is reported once."""
    seen = Seen()

    def reject_once(rejection: Rejection) -> None:
        place = f"{rejection.source}\0{rejection.line}\0{rejection.field}"
        # Without a line two records of one source can't be told apart, so each passes.
        if rejection.line == 0 or seen.add(place) == "new":
            reject(rejection)

    return reject_once
