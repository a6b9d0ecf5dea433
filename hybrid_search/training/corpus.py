"""The corpus of a training run: every document in a lexical index, which then gives texts and BM25 negatives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.indexing import index_corpus
from hybrid_search.protocols import Dataset, Progress
from hybrid_search.settings.index import IndexSettings
from hybrid_search.streams import in_document_batches
from hybrid_search.training.resume import WorkFolder
from hybrid_search.types import Document, Example, Rejection

__all__ = ["add_missing", "open_corpus"]

BATCH = 2_048
_STAGE = "corpus"


def open_corpus(
    dataset: Dataset, work: WorkFolder, *, reject: Callable[[Rejection], None], progress: Progress
) -> EmbeddedEngine:
    """Index the data set's documents, or open the index that an interrupted run left; writable.

    Such a run's documents are read again, which takes a small part of the time of indexing them: that they are the same
    is what makes it the same run, and what the loader rejects is told again.

    :raises ResumeMismatch: if the documents have changed since the interrupted run indexed them.
    :raises IndexLocked: if another process is at this run.
    """
    if work.is_done(_STAGE):
        engine = EmbeddedEngine.open(work.index, writable=True)
        try:
            with progress("comparing the corpus with the unfinished run's", engine.count()) as task:
                digest = _Digest()
                for batch in in_document_batches(digest.taking_in(dataset.documents()), BATCH):
                    task.advance(len(batch))
            work.check_same(_STAGE, digest.value)
        except BaseException:
            engine.close()
            raise
        for rejection in work.rejected():
            reject(rejection)
        return engine
    EmbeddedEngine.drop(work.index)  # half of a corpus, which may have changed since
    engine = EmbeddedEngine.create(work.index, IndexSettings())
    try:
        _index(dataset, engine, work, work.rejecting(reject), progress)
    except BaseException:
        engine.close()
        raise
    return engine


def _index(
    dataset: Dataset,
    engine: EmbeddedEngine,
    work: WorkFolder,
    reject: Callable[[Rejection], None],
    progress: Progress,
) -> None:
    digest = _Digest()
    with progress("reading the corpus", None) as task:
        for batch in index_corpus(engine, None, digest.taking_in(dataset.documents()), commit_every=None):
            for rejection in batch.rejected:
                reject(rejection)
            task.advance(batch.read)
    work.mark_done(_STAGE, digest.value)


class _Digest:
    """Names documents by their content and order."""

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
    """Add the documents that only the examples bring (triples carry passages that the collection may lack)."""
    for batch in in_document_batches(_documents(examples), BATCH):
        known = engine.get([document.id for document in batch])
        engine.add([document for document, there in zip(batch, known, strict=True) if there is None], None)
    engine.commit()


def _documents(examples: Iterable[Example]) -> Iterator[Document]:
    seen: set[str] = set()
    for example in examples:
        group: Sequence[Document] = (example.positive, *example.negatives)
        for document in group:
            if document.id not in seen:
                seen.add(document.id)
                yield document
