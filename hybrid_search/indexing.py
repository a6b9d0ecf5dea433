"""Encodes and adds documents: the loop of ``Retriever.add``, of loading into a folder, and of training's indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hybrid_search.protocols import Encoder, Engine, Vectors
from hybrid_search.streams import in_document_batches
from hybrid_search.types import Document, Rejection

__all__ = ["BATCH", "COMMIT_EVERY", "Indexed", "index_corpus", "vectors_of"]

BATCH = 1_024
"""Documents encoded and added at a time: enough to sort them by length, few enough to lose on Ctrl-C."""

COMMIT_EVERY = 16_384
"""Documents between commits; after a kill at most these are encoded again by the next run."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of one batch.

    :ivar read: documents in the batch.
    :ivar new: those that the index did not contain.
    :ivar rejected: those of the new ones that the index rejected.
    """

    read: int
    new: int
    rejected: list[Rejection]


def index_corpus(
    engine: Engine,
    encoder: Encoder | None,
    documents: Iterable[Document],
    *,
    batch_size: int = BATCH,
    commit_every: int | None = COMMIT_EVERY,
    only_new: Callable[[list[Document]], list[Document]] | None = None,
) -> Iterator[Indexed]:
    """Encode and add documents in batches, commit from time to time and at the end; yields each batch that was added.

    :param encoder: None for an index without vectors.
    :param commit_every: number of documents between commits; None to commit at the end only.
    :param only_new: returns the documents of a batch that must be added; None for all.
    :raises SearchIndexError: if a batch can't be added; earlier ones are part of the next commit.
    """
    since_commit = 0
    for batch in in_document_batches(documents, batch_size):
        new = batch if only_new is None else only_new(batch)
        rejected = engine.add(new, vectors_of(encoder, new)) if new else []
        yield Indexed(len(batch), len(new), rejected)
        since_commit += len(new)
        if commit_every is not None and since_commit >= commit_every:
            engine.commit()
            since_commit = 0
    engine.commit()


def vectors_of(encoder: Encoder | None, documents: Sequence[Document]) -> Vectors | None:
    """Encode documents with the document tower: (n, dimension) float32; None without an encoder.

    A document whose text is not a string gets the vector of an empty text; the engine rejects it, with the reason.
    """
    if encoder is None:
        return None
    texts = [text if isinstance(text := document.searchable_text, str) else "" for document in documents]
    return encoder.encode_documents(texts)
