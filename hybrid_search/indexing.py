"""Encode and add documents: the loop behind ``Retriever.add``, ``load`` into a folder, and training's own indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hybrid_search.protocols import Encoder, Engine, Vectors
from hybrid_search.streams import in_document_batches
from hybrid_search.types import Document, Rejection

__all__ = ["BATCH", "COMMIT_EVERY", "Indexed", "index_corpus", "vectors_of"]

BATCH = 1_024
"""Documents encoded and added at a time: enough to sort by length, little enough to lose on Ctrl-C."""

COMMIT_EVERY = 16_384
"""Documents between commits: what a kill costs at most is read and encoded again by the next run."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of one batch.

    :ivar read: documents in the batch.
    :ivar new: those of them that the index did not have already.
    :ivar rejected: those of the new ones that the index refused.
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
    """Encode and add documents batch by batch, commit now and then and at the end; yields each batch once it is added.

    :param encoder: None for an index without vectors.
    :param commit_every: documents added between commits; None commits at the end alone.
    :param only_new: returns those documents of a batch that must be added; all of them when None.
    :raises SearchIndexError: if a batch can't be added; those before it go with the next commit.
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

    A document whose text is no string has the vector of an empty one: the engine refuses it, and says why.
    """
    if encoder is None:
        return None
    texts = [text if isinstance(text := document.searchable_text, str) else "" for document in documents]
    return encoder.encode_documents(texts)
