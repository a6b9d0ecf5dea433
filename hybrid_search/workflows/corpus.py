"""The corpus of a training run: every document in a lexical index, which then gives texts and BM25 negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from hybrid_search.config import IndexSettings
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.protocols import Dataset, Progress
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Example, Rejection
from hybrid_search.workflows.work import WorkFolder

__all__ = ["add_missing", "open_corpus"]

BATCH = 2_048
_STAGE = "corpus"


def open_corpus(
    dataset: Dataset, work: WorkFolder, *, reject: Callable[[Rejection], None], progress: Progress
) -> EmbeddedEngine:
    """Index the data set's documents, or open the index that an interrupted run left; writable."""
    if EmbeddedEngine.exists(work.index):
        engine = EmbeddedEngine.open(work.index, writable=True)
    else:
        engine = EmbeddedEngine.create(work.index, IndexSettings())
    if not work.is_done(_STAGE):
        with progress("reading the corpus", None) as task:
            for batch in in_batches(dataset.documents(), BATCH):
                for rejection in engine.add(batch, None):
                    reject(rejection)
                task.advance(len(batch))
        engine.commit()
        work.mark_done(_STAGE)
    return engine


def add_missing(engine: EmbeddedEngine, examples: Iterable[Example]) -> None:
    """Add the documents that only the examples bring (triples carry passages that the collection may lack)."""
    for batch in in_batches(_documents(examples), BATCH):
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
