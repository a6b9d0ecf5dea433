"""The corpus of a training run: a lexical index of all documents, for their texts and for BM25 negatives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.indexing import index_corpus
from hybrid_search.protocols import Dataset, Reporter
from hybrid_search.settings.index import IndexSettings
from hybrid_search.streams import in_document_batches
from hybrid_search.training.resume import WorkFolder
from hybrid_search.types import Document, Example

__all__ = ["add_missing", "open_corpus"]

BATCH = 2_048
_STAGE = "corpus"


def open_corpus(dataset: Dataset, work: WorkFolder, reporter: Reporter) -> EmbeddedEngine:
    """Index the data set's documents, or open the index of an interrupted run; the index is writable.

    An interrupted run's documents are read again and compared, as another corpus would be another run; this takes a
    small part of the time of indexing. Rejections are reported again.

    :raises ResumeMismatch: if the documents have changed since the interrupted run indexed them.
    :raises IndexLocked: if another process is working on this run.
    """
    if work.is_done(_STAGE):
        engine = EmbeddedEngine.open(work.index, writable=True)
        try:
            with reporter.progress("comparing the corpus with the unfinished run's", engine.count()) as task:
                digest = _Digest()
                for batch in in_document_batches(digest.taking_in(dataset.documents()), BATCH):
                    task.advance(len(batch))
            work.check_same(_STAGE, digest.value)
        except BaseException:
            engine.close()
            raise
        for rejection in work.rejected():
            reporter.reject(rejection)
        return engine
    EmbeddedEngine.drop(work.index)  # incomplete, and the corpus may have changed since
    engine = EmbeddedEngine.create(work.index, IndexSettings())
    try:
        _index(dataset, engine, work, reporter.rejecting(work.rejecting(reporter.reject)))
    except BaseException:
        engine.close()
        raise
    return engine


def _index(
    dataset: Dataset,
    engine: EmbeddedEngine,
    work: WorkFolder,
    reporter: Reporter,
) -> None:
    digest = _Digest()
    with reporter.progress("reading the corpus", None) as task:
        for batch in index_corpus(engine, None, digest.taking_in(dataset.documents()), commit_every=None):
            for rejection in batch.rejected:
                reporter.reject(rejection)
            task.advance(batch.read)
    work.mark_done(_STAGE, digest.value)


class _Digest:
    """A hash of documents' content and order."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def taking_in(self, documents: Iterable[Document]) -> Iterator[Document]:
        for one in documents:
            parts = (one.id, one.title, one.text, sorted(one.metadata.items()) if one.metadata else "")
            self._sha.update(repr(parts).encode("utf-8", "surrogatepass"))
            yield one

    @property
    def value(self) -> str:
        return self._sha.hexdigest()


def add_missing(engine: EmbeddedEngine, examples: Iterable[Example]) -> None:
    """Add documents that occur only in examples (triples may contain passages that are not in the collection)."""
    for batch in in_document_batches(_documents(examples), BATCH):
        known = engine.get([document.id for document in batch])
        engine.add([document for document, found in zip(batch, known, strict=True) if found is None], None)
    engine.commit()


def _documents(examples: Iterable[Example]) -> Iterator[Document]:
    seen: set[str] = set()
    for example in examples:
        group: Sequence[Document] = (example.positive, *example.negatives)
        for document in group:
            if document.id not in seen:
                seen.add(document.id)
                yield document
