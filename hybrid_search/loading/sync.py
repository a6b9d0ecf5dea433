"""Implements ``load --sync``: documents that are no longer in the data set are deleted from the index.

Which documents are missing is only known if the data set was read to its end, and each of its records could be read.
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
from hybrid_search.passages import document_of
from hybrid_search.protocols import Dataset, Engine, Progress, silent
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection

__all__ = ["Present", "Rejecting", "Synced", "load_in_sync"]

ASK_ABOVE = 0.1
"""Share of the documents in the index before the load; to remove more of them needs confirmation."""

BATCH = 1_000
"""Number of documents per deletion."""


class Rejecting(Protocol):
    """Called with rejections; counts them, including those of the data set's reader."""

    @property
    def count(self) -> int:
        """Number of records rejected so far."""

    def __call__(self, rejection: Rejection) -> None:
        """Take one rejection."""


class _Refused:
    """Passes on and counts rejections by the index, whose records could be read."""

    def __init__(self, reject: Rejecting) -> None:
        self.count = 0
        self._reject = reject

    def __call__(self, rejection: Rejection) -> None:
        before = self._reject.count
        self._reject(rejection)
        self.count += self._reject.count - before  # of two passages of one record it may count one


class Present:
    """Records the ids of a data set's documents as they are read: 8 bytes each.

    If two ids have the same hash, a document may stay that should be deleted, but none is deleted that should stay.

    :ivar is_complete: whether the data set was read to its end.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def watching(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Yield the documents unchanged, and record their ids."""
        for document in documents:
            self._hashes.append(_hash(document.id))
            yield document
        self.is_complete = True

    def absent(self, ids: Iterator[str]) -> list[str]:
        """Return the ids that no document of the data set has."""
        known = np.unique(np.frombuffer(self._hashes, dtype=np.uint64))
        found: list[str] = []
        for batch in in_batches(ids, BATCH):
            hashes = np.fromiter(map(_hash, batch), dtype=np.uint64, count=len(batch))
            places = np.searchsorted(known, hashes)  # np.isin would sort all of them for each batch
            there = known.take(places, mode="clip") == hashes if len(known) else np.zeros(len(hashes), bool)
            found += [id for id, is_there in zip(batch, there, strict=True) if not is_there]
        return found


def _hash(id: str) -> int:
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Synced:
    """The result of a load with synchronisation.

    :ivar removed: number of documents deleted from the index; of one of passages that of passages.
    :ivar of_documents: number of documents that the removed passages are of.
    :ivar not_synced: why nothing was deleted; empty if it was.
    """

    load: LoadReport
    removed: int = 0
    of_documents: int = 0
    not_synced: str = ""


def load_in_sync(
    dataset: Dataset,
    location: str | Path,
    *,
    reject: Rejecting,
    model: Path | None = None,
    options: LoadOptions | None = None,
    may_remove: Callable[[int, int], bool] = lambda count, before: False,
    despite_rejected: bool = False,
    progress: Progress = silent,
) -> Synced:
    """Load a data set into an index, then delete the index's documents that are not in the data set.

    Nothing is deleted unless the data set was read to its end and each of its records could be read.

    :param location: for an alias, its live index is used; nothing is deleted if the alias moves meanwhile.
    :param reject: called with each rejection by the index; the data set's reader must have been given the same object.
    :param may_remove: called with the number of documents to delete and the number before the load, if that is more
        than a tenth; returns whether to delete them.
    :param despite_rejected: delete even if records of the data set could not be read: if one of them was read before,
        its document goes.
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
    if obstacle := _obstacle(present, 0 if despite_rejected else reject.count - refused.count):
        return Synced(report, not_synced=obstacle)
    with closing(open_engine(location, writable=True)) as engine:
        if which is not None and _which(engine) != which:
            return Synced(report, not_synced=f"{location} stands for another index now than when the load began")
        with progress("looking for documents that left the data set", engine.count()) as task:
            absent = present.absent(_ids(engine, task.advance))
        if len(absent) > ASK_ABOVE * before and not may_remove(len(absent), before):
            what = "passages" if report.read.get("passages") else "documents"
            reason = f"{len(absent):,} of {before:,} {what} would be removed, more than a tenth"
            return Synced(report, not_synced=reason)
        removed = sum(engine.delete(batch) for batch in in_batches(absent, BATCH))
        engine.commit()
        return Synced(replace(report, documents=engine.count()), removed, len(set(map(document_of, absent))))


def _before(location: str | Path) -> tuple[int, object]:
    """Return the number of documents in the index, and an identification of the index."""
    if not index_exists(location):
        return 0, None
    with closing(open_engine(location)) as engine:
        return engine.count(), _which(engine)


def _which(engine: Engine) -> object:
    """Identify the index, to detect that an alias moves; None for a folder."""
    return getattr(engine, "place", None)


def _obstacle(present: Present, unread: int) -> str:
    """Return why the data set does not show which documents are missing; empty if it does."""
    if not present.is_complete:
        return "the data set was not read to its end"
    if unread:
        return f"{unread:,} of the data set's records could not be read, any of which may be a document that is there"
    return "" if len(present) else "the data set gave no document"


def _ids(engine: Engine, advance: Callable[[int], None]) -> Iterator[str]:
    for document in engine.documents():
        advance(1)
        yield document.id
