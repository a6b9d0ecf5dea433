"""Loads documents into a server: encoding and sending overlap, and a journal records the progress."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from hybrid_search.errors import HybridSearchError, Unreachable, UsageError
from hybrid_search.indexing import vectors_of
from hybrid_search.loading.journal import Digest, Entry, Journal, not_yet_there
from hybrid_search.loading.pipeline import pipelined
from hybrid_search.protocols import Encoder, Reporter, Task
from hybrid_search.search import checked_vectors
from hybrid_search.settings.base import check_types
from hybrid_search.streams import in_batches, in_sized_batches
from hybrid_search.types import Document, Rejection

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.writing import Prepared

_log = logging.getLogger(__name__)

__all__ = ["Batch", "ServerLoad", "ServerLoading", "Totals", "batches_of", "is_commit_due"]

BATCH = 1_000
"""Documents encoded at a time: enough to sort them by length."""

FIRST_COMMIT = 4_000
COMMIT_SHARE = 1 / 8
"""The load commits after this many documents at first, later after this share of those committed."""

_BATCH_BYTES = 8 << 20
_MOST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """How a server is loaded; these options don't apply to a folder.

    :ivar source: identifies the data set; a journal is for one source and one location.
    :ivar resume: continue an interrupted load from its journal.
    :ivar connections: number of concurrent requests, 1 to 64.
    :ivar without_replicas: keep a single copy of each shard during the load. If a node is lost meanwhile, so are its
        documents, and the load must be started again.
    :ivar force_merge: number of segments to which each shard is merged at the end; 0 for no merge.
    :ivar warm_up: load the graphs into the server's memory at the end.
    :ivar as_held: the documents come from an index on a server, so accept everything that it can contain, such as
        several numbers in a field and documents without a text.
    """

    source: str = ""
    resume: bool = False
    connections: int = 4
    without_replicas: bool = False
    force_merge: int = 0
    warm_up: bool = False
    as_held: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.connections <= _MOST_CONNECTIONS:
            raise UsageError(f"connections is {self.connections}; it must be from 1 to {_MOST_CONNECTIONS}")
        if self.force_merge < 0:
            raise UsageError(f"force_merge is {self.force_merge}; it must be 1 segment or more, or 0 for not")


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of a load; see :class:`~hybrid_search.loading.load.LoadReport`."""

    added: int
    unchanged: int
    rejected: int
    server: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive documents of the data set; ``until`` counts the documents read so far, ``digest`` is of these."""

    documents: list[Document]
    until: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Made:
    new: int
    prepared: Prepared | None


@dataclass(frozen=True, slots=True)
class ServerLoading:
    """One load into one index on a server.

    :ivar total: number of documents of the data set, if known.
    """

    engine: OpenSearchEngine
    encoder: Encoder | None
    options: ServerLoad
    journal: Journal
    reporter: Reporter
    total: int | None = None

    def run(self, documents: Iterator[Document]) -> Totals:
        """Load the documents, and commit.

        :raises UsageError: if the journal to resume from belongs to another index.
        :raises DataError: if it belongs to other documents.
        :raises SearchIndexError: if the server refuses or fails; the journal records what was acknowledged.
        """
        with self.journal.locked(), self.engine.writer.persistent():
            entry = self._entry()
            digest = Digest()
            self._skip(documents, entry, digest)
            started = perf_counter()
            first = entry
            entry = self._sent(documents, entry, digest)
            try:
                self.engine.commit()
                seconds = perf_counter() - started
                self._finish()
            except BaseException:
                self._tell_how_far(entry)
                raise
            self.journal.remove()
        return Totals(entry.added, entry.unchanged, entry.rejected, self._figures(entry, first, seconds))

    def _entry(self) -> Entry:
        uuid = self.engine.place.uuid
        entry = self.journal.resumed(uuid) if self.options.resume else None
        if entry is not None:
            _log.warning("going on after %s documents (journal %s)", f"{entry.documents:,}", self.journal.path)
            return entry
        if self.options.resume:
            _log.warning("nothing to resume: there is no journal %s; loading all of it", self.journal.path)
        return self.journal.begun(uuid, checked=self.engine.count() > 0)

    def _skip(self, documents: Iterator[Document], entry: Entry, digest: Digest) -> None:
        if not entry.documents:
            return
        seen = 0
        with self.reporter.progress("reading past what is acknowledged", entry.documents) as task:
            for batch in in_batches(islice(documents, entry.documents), BATCH):
                for document in batch:
                    digest.add(document)
                seen += len(batch)
                task.advance(len(batch))
        self.journal.check_same(entry, seen, digest)

    def _sent(self, documents: Iterator[Document], entry: Entry, digest: Digest) -> Entry:
        self._hold_settings()
        committed = entry.documents
        total = None if self.total is None else self.total - entry.documents
        started = perf_counter()

        sent = pipelined(
            batches_of(documents, entry.documents, digest), self._make(entry.checked), self._send,
            senders=self.options.connections, stop=self.engine.writer.stop,
        )  # fmt: skip
        try:
            with self.reporter.progress("indexing", total) as task, contextlib.closing(sent):
                for batch, (new, rejections) in sent:
                    for rejection in rejections:
                        self.reporter.reject(rejection)
                    entry = _advanced(entry, batch, new, len(rejections))
                    self.journal.write(entry)
                    self._tell(task, perf_counter() - started)
                    task.advance(len(batch.documents))
                    if is_commit_due(entry.documents, committed):
                        self.engine.commit()
                        committed = entry.documents
        except BaseException as error:
            self.journal.write(entry, now=True)
            self._leave(entry, error)
            raise
        return entry

    def _leave(self, entry: Entry, error: BaseException) -> None:
        """Log how to continue, whatever ended the load, and commit what was acknowledged if the server answers."""
        self._tell_how_far(entry)
        if entry.documents and isinstance(error, HybridSearchError) and not isinstance(error, Unreachable):
            with contextlib.suppress(HybridSearchError):
                self.engine.commit()

    def _tell_how_far(self, entry: Entry) -> None:
        if not entry.documents:
            return
        _log.warning(
            "%s documents are acknowledged; loading with resume=True goes on from there (journal %s)",
            f"{entry.documents:,}", self.journal.path,
        )  # fmt: skip

    def _hold_settings(self) -> None:
        writer = self.engine.writer
        # The merge at the end then builds the graphs; it does so only if there is more than one segment.
        without_graphs = self.options.force_merge == 1 and writer.defers_graphs
        writer.hold(without_replicas=self.options.without_replicas, without_graphs=without_graphs)

    def _make(self, check: bool) -> Callable[[Batch], _Made]:
        def make(batch: Batch) -> _Made:
            new = not_yet_there(self.engine, batch.documents) if check else batch.documents
            if not new:
                return _Made(0, None)
            vectors = checked_vectors(vectors_of(self.encoder, new), len(new), self.engine.settings.dimension)
            return _Made(len(new), self.engine.writer.prepare(new, vectors, as_held=self.options.as_held))

        return make

    def _send(self, made: _Made) -> tuple[int, list[Rejection]]:
        return made.new, [] if made.prepared is None else self.engine.writer.send(made.prepared)

    def _finish(self) -> None:
        writer = self.engine.writer
        writer.give_back(but_replicas=True)
        if self.options.force_merge:
            with self.reporter.progress("merging segments", None):
                writer.force_merge(self.options.force_merge)
        writer.give_back()
        if self.options.warm_up and self.engine.settings.dimension:
            with self.reporter.progress("warming up", None):
                writer.warm_up()

    def _tell(self, task: Task, seconds: float) -> None:
        traffic = self.engine.writer.traffic
        again = f", {traffic.retries:,} retries, {traffic.refusals:,} sent again" if traffic.retries else ""
        task.note(f"{traffic.bytes / 1e6 / max(seconds, 1e-3):.1f} MB/s{again}")

    def _figures(self, entry: Entry, first: Entry, seconds: float) -> dict[str, float]:
        traffic = self.engine.writer.traffic
        return {
            "resumed": first.documents,
            "rejected_before": first.rejected,
            "documents_per_second": round((entry.documents - first.documents) / seconds, 1),
            "megabytes_per_second": round(traffic.bytes / 1e6 / seconds, 2),
            "requests": traffic.requests,
            "retries": traffic.retries,
            "sent_again": traffic.refusals,
        }


def is_commit_due(acknowledged: int, committed: int) -> bool:
    """Return whether it is time to commit, which makes documents searchable and creates a segment.

    Graphs of few vectors are cheaper to build than one of many, but too many segments must be merged. So segments are
    small at first and grow with the index.
    """
    return acknowledged - committed >= max(FIRST_COMMIT, int(committed * COMMIT_SHARE))


def batches_of(documents: Iterable[Document], read: int, digest: Digest) -> Iterator[Batch]:
    """Cut a data set into batches for encoding.

    :param read: number of documents before these.
    :param digest: of the documents before these; it is updated.
    """
    for batch in in_sized_batches(documents, BATCH, _BATCH_BYTES, _size):
        for document in batch:
            digest.add(document)
        read += len(batch)
        yield Batch(batch, read, digest.value)


def _size(document: Document) -> int:
    return len(document.text) + len(document.title)


def _advanced(entry: Entry, batch: Batch, new: int, rejected: int) -> Entry:
    return msgspec.structs.replace(
        entry,
        documents=batch.until,
        digest=batch.digest,
        added=entry.added + new - rejected,
        unchanged=entry.unchanged + len(batch.documents) - new,
        rejected=entry.rejected + rejected,
    )
