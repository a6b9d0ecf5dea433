"""What ``load --sync`` adds to a load: documents that left the data set leave the index too.

Only a data set that was read to its end, and of which every record could be read, says what is no longer in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np

from hybrid_search.errors import UsageError
from hybrid_search.loading.load import LoadOptions, LoadReport, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.opening import index_exists, open_engine
from hybrid_search.protocols import Dataset, Engine, Progress, silent
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection

__all__ = ["Present", "Rejecting", "Synced", "load_in_sync"]

ASK_ABOVE = 0.1
"""Share of the documents that the index had before the load, above which somebody must agree to the removal."""

BATCH = 1_000
"""Documents deleted at a time."""


class Rejecting(Protocol):
    """Takes rejections, and knows how many there were in all, those of the data set's reader too."""

    @property
    def count(self) -> int:
        """How many records were refused so far."""

    def __call__(self, rejection: Rejection) -> None:
        """Take one."""


class _Refused:
    """Passes on what the index refuses, counted: those records were read."""

    def __init__(self, reject: Rejecting) -> None:
        self.count = 0
        self._reject = reject

    def __call__(self, rejection: Rejection) -> None:
        self.count += 1
        self._reject(rejection)


class Present:
    """The ids of a data set's documents, noted as they go by: 8 bytes each.

    Where two ids have the same hash, a document stays that should have gone; none goes that should have stayed.

    :ivar is_complete: the data set was read to its end.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def watching(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Pass documents on and note their ids."""
        for document in documents:
            self._hashes.append(_hash(document.id))
            yield document
        self.is_complete = True

    def absent(self, ids: Iterator[str]) -> list[str]:
        """Return the ids that no document of the data set had."""
        known = np.unique(np.frombuffer(self._hashes, dtype=np.uint64))
        found: list[str] = []
        for batch in in_batches(ids, BATCH):
            hashes = np.fromiter(map(_hash, batch), dtype=np.uint64, count=len(batch))
            there = np.isin(hashes, known)
            found += [id for id, is_there in zip(batch, there, strict=True) if not is_there]
        return found


def _hash(id: str) -> int:
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Synced:
    """What a load with synchronisation did.

    :ivar removed: how many documents were deleted from the index as the data set lacks them.
    :ivar not_synced: why they were not; empty when they are gone.
    """

    load: LoadReport
    removed: int = 0
    not_synced: str = ""


def load_in_sync(
    dataset: Dataset,
    location: str | Path,
    *,
    reject: Rejecting,
    model: Path | None = None,
    options: LoadOptions | None = None,
    may_remove: Callable[[int, int], bool] = lambda count, before: False,
    progress: Progress = silent,
) -> Synced:
    """Load a data set into an index, then delete the documents of the index that the data set does not have.

    Nothing is deleted unless the data set was read to its end and every record of it could be read.

    :param location: by an alias, its live index; nothing is deleted if the alias moves meanwhile.
    :param reject: takes what the index refuses, and knows what the data set's reader refused, which must have been
        given the same.
    :param may_remove: is asked, with how many documents are to go and how many there were before the load, when that is
        more than a tenth.
    :raises UsageError: if the index is to be recreated.
    :raises HybridSearchError: as :func:`~hybrid_search.loading.load.load`; nothing was deleted then.
    """
    if options is not None and options.recreate:
        raise UsageError("sync and recreate contradict one another: what is built anew has what the data set has")
    before, which = _before(location)
    present, refused = Present(), _Refused(reject)
    report = load(
        Corpus(dataset.name, lambda: present.watching(dataset.documents()), dataset.report),
        location,
        model=model,
        options=options,
        reject=refused,
        progress=progress,
    )
    if obstacle := _obstacle(present, reject.count - refused.count):
        return Synced(report, not_synced=obstacle)
    with closing(open_engine(location, writable=True)) as engine:
        if which is not None and _which(engine) != which:
            return Synced(report, not_synced=f"{location} stands for another index now than when the load began")
        with progress("looking for documents that left the data set", engine.count()) as task:
            absent = present.absent(_ids(engine, task.advance))
        if len(absent) > ASK_ABOVE * before and not may_remove(len(absent), before):
            told = f"{len(absent):,} of {before:,} documents would be removed, more than a tenth"
            return Synced(report, not_synced=told)
        removed = sum(engine.delete(batch) for batch in in_batches(absent, BATCH))
        engine.commit()
        return Synced(replace(report, documents=engine.count()), removed)


def _before(location: str | Path) -> tuple[int, object]:
    """Return how many documents the index has, and which index it is."""
    if not index_exists(location):
        return 0, None
    with closing(open_engine(location)) as engine:
        return engine.count(), _which(engine)


def _which(engine: Engine) -> object:
    """Tell the index of an alias from the one that the alias stands for later; None for a folder, which is one."""
    return getattr(engine, "place", None)


def _obstacle(present: Present, unread: int) -> str:
    """Say why the data set does not tell what is no longer in it; empty where it does."""
    if not present.is_complete:
        return "the data set was not read to its end"
    if unread:
        return f"{unread:,} of the data set's records could not be read, any of which may be a document that is there"
    return "" if len(present) else "the data set gave no document"


def _ids(engine: Engine, advance: Callable[[int], None]) -> Iterator[str]:
    for document in engine.documents():
        advance(1)
        yield document.id
