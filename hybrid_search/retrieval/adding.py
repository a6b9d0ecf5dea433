"""Adding a user's documents to an index: checked, encoded, committed, and what was rejected named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hybrid_search.errors import ModelMismatch, RecordsRejected, UsageError, shown
from hybrid_search.indexing import PassageCounts, index_corpus
from hybrid_search.protocols import Encoder, Engine
from hybrid_search.types import Document, Rejection

__all__ = ["AddReport", "added"]

_LARGEST_BATCH = 1_000_000
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class AddReport:
    """The result of adding documents.

    :ivar added: number of documents that were accepted and committed, including replacements; of those of one batch
        that have one id the last one counts, as it alone is there.
    :ivar rejected: the others, each with its reason.
    """

    added: int
    rejected: tuple[Rejection, ...]


def added(
    encoder: Encoder | None, engine: Engine, documents: Iterable[Document], batch_size: int, *, allow_rejected: bool
) -> AddReport:
    """Add a user's documents and commit; see :meth:`~hybrid_search.retrieval.retriever.Retriever.add`."""
    if isinstance(documents, Document) or not isinstance(documents, Iterable):
        raise UsageError(f"documents is {type(documents).__name__}; give a list of hybrid_search.Document")
    if not (isinstance(batch_size, int) and 1 <= batch_size <= _LARGEST_BATCH):
        raise UsageError(f"batch_size is {shown(batch_size)}; it must be a whole number from 1 to {_LARGEST_BATCH}")
    if encoder is None and engine.settings.dimension:
        raise ModelMismatch(
            f"the index holds vectors of model {engine.settings.fingerprint}, and this retriever has no "
            "towers; open it with that model to add documents"
        )
    taken, rejected, counts = 0, list[Rejection](), PassageCounts()
    stream = counts.watching(_documents_alone(documents))
    for done in index_corpus(engine, encoder, stream, batch_size=batch_size, commit_every=None):
        taken += done.new - len(done.rejected) - done.replaced
        rejected += done.rejected
    counts.remove_stale(engine)
    report = AddReport(taken, tuple(rejected))
    if report.rejected and not allow_rejected:
        raise _refused(report)
    return report


def _refused(report: AddReport) -> RecordsRejected:
    named = "; ".join(
        f"line {one.line}: {one.fault}" if one.line else one.fault for one in report.rejected[:_MOST_NAMED]
    )
    more = f"; and {len(report.rejected) - _MOST_NAMED} more" if len(report.rejected) > _MOST_NAMED else ""
    return RecordsRejected(
        f"{len(report.rejected)} of {report.added + len(report.rejected)} documents were rejected, the others are in: "
        f"{named}{more}; the error's `rejected` has them, and add(…, allow_rejected=True) returns them instead",
        report.rejected,
    )


def _documents_alone(documents: Iterable[Document]) -> Iterator[Document]:
    for one in documents:
        if not isinstance(one, Document):
            raise UsageError(f"documents holds {shown(one)}, which is no hybrid_search.Document")
        yield one
