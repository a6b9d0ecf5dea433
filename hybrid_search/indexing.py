"""Encodes and adds documents: the loop of ``Retriever.add``, of loading into a folder, and of training's indexes."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from hybrid_search.passages import COUNT, NUMBER, OF, count_of, joined, passage_id
from hybrid_search.protocols import Encoder, Engine, Vectors
from hybrid_search.streams import in_batches, in_document_batches
from hybrid_search.tracing import embeddings
from hybrid_search.types import LONGEST_ID, Document, Rejection, id_fault

__all__ = [
    "BATCH",
    "COMMIT_EVERY",
    "Indexed",
    "PassageCounts",
    "fetched",
    "index_corpus",
    "vectors_of",
    "with_passages",
]

BATCH = 1_024
"""Documents encoded and added at a time: enough to sort them by length, few enough to lose on Ctrl-C."""

COMMIT_EVERY = 16_384
"""Documents between commits; after a kill at most these are encoded again by the next run."""

_AHEAD = COMMIT_EVERY
_AHEAD_CHARACTERS = 1 << 24
"""Documents, and characters of them, that are read and encoded while those before are added and committed, at most."""

_FEW = 1_000
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of one batch.

    :ivar read: documents in the batch.
    :ivar new: those that the index did not contain.
    :ivar rejected: those of the new ones that the index rejected.
    :ivar replaced: number of the accepted ones that a later one of the batch with the same id has replaced.
    """

    read: int
    new: int
    rejected: list[Rejection]
    replaced: int = 0


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
    choice = _Choice(only_new)
    read = ((batch, choice.of(batch)) for batch in in_document_batches(documents, batch_size))
    for batch, new, vectors in _encoded(read, encoder):
        rejected = engine.add(new, vectors) if new else []
        yield Indexed(len(batch), len(new), rejected, _replaced(new, rejected))
        since_commit += len(new)
        choice.added(new)
        if commit_every is not None and since_commit >= commit_every:
            engine.commit()
            since_commit = 0
            choice.committed()
    engine.commit()


class _Choice:
    """Chooses the documents that must be added: new ones, and all whose id has come before and is not committed."""

    def __init__(self, only_new: Callable[[list[Document]], list[Document]] | None) -> None:
        self._only_new = only_new
        self._coming: Counter[str] = Counter()
        self._added: Counter[str] = Counter()

    def of(self, batch: list[Document]) -> list[Document]:
        if self._only_new is None:
            return batch
        new, chosen = {id(one) for one in self._only_new(batch)}, []
        for one in batch:
            # What is committed tells nothing of a document that another version has preceded since.
            known = isinstance(one.id, str)
            if id(one) in new or (known and one.id in self._coming):
                chosen.append(one)
                if known:
                    self._coming[one.id] += 1
        return chosen

    def added(self, new: list[Document]) -> None:
        if self._only_new is not None:
            self._added.update(one.id for one in new if isinstance(one.id, str))

    def committed(self) -> None:
        self._coming -= self._added  # keeps those that are still to be added
        self._added.clear()


_Read = tuple[list[Document], list[Document]]
"""A batch, and those of its documents that must be added."""


def _encoded(
    batches: Iterator[_Read], encoder: Encoder | None
) -> Iterator[tuple[list[Document], list[Document], Vectors | None]]:
    """Yield batches with the vectors of what must be added; the next ones are read and encoded meanwhile.

    If reading fails, the batches before are yielded first.
    """
    if encoder is None:
        yield from ((batch, new, None) for batch, new in batches)
        return
    caught = _caught(batches)
    first, second = list(islice(caught, 1)), list(islice(caught, 1))
    if not second:  # a thread costs more than a small add
        yield from (_made(read, partial(vectors_of, encoder)) for read in first)
        return
    waiting: deque[tuple[_Read | Exception, Future[Vectors | None], float]] = deque()
    with ThreadPoolExecutor(1, "encode") as encoding:
        try:
            for read in chain(first, second, caught):
                new = [] if isinstance(read, Exception) else read[1]
                vectors = encoding.submit(copy_context().run, vectors_of, encoder, new)
                waiting.append((read, vectors, _weight(new)))
                while sum(weight for _, _, weight in waiting) > 1:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            encoding.shutdown(wait=False, cancel_futures=True)


def _caught(batches: Iterable[_Read]) -> Iterator[_Read | Exception]:
    try:
        yield from batches
    except Exception as error:
        yield error


def _weight(documents: Sequence[Document]) -> float:
    """Return the share of what may be read ahead."""
    characters = sum(len(one.text) for one in documents if isinstance(one.text, str))
    return max(len(documents) / _AHEAD, characters / _AHEAD_CHARACTERS)


def _next(
    waiting: deque[tuple[_Read | Exception, Future[Vectors | None], float]],
) -> tuple[list[Document], list[Document], Vectors | None]:
    read, vectors, _ = waiting.popleft()
    return _made(read, lambda new: vectors.result())


def _made(
    read: _Read | Exception, vectors: Callable[[list[Document]], Vectors | None]
) -> tuple[list[Document], list[Document], Vectors | None]:
    if isinstance(read, Exception):
        raise read
    return *read, vectors(read[1])


def _replaced(documents: Sequence[Document], rejected: Sequence[Rejection]) -> int:
    """Count the accepted documents of a batch that have the id of a later accepted one."""
    ids = Counter(document.id for document in documents if isinstance(document.id, str))
    if len(ids) == ids.total():
        return 0
    ids.subtract(id for one in rejected if isinstance(id := json.loads(one.record)["id"], str))
    return sum(count - 1 for count in ids.values() if count > 1)


def vectors_of(encoder: Encoder | None, documents: Sequence[Document]) -> Vectors | None:
    """Encode documents with the document tower: (n, dimension) float32; None without an encoder.

    A document whose text is not a string gets the vector of an empty text; the engine rejects it, with the reason.
    """
    if encoder is None:
        return None
    texts = [text if isinstance(text := document.searchable_text, str) else "" for document in documents]
    with embeddings(encoder, len(texts)):
        return encoder.encode_documents(texts)


class PassageCounts:
    """Notes how many passages each added document has, to delete those that an earlier version of it had beyond."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def watching(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents unchanged, and note the counts."""
        for document in documents:
            metadata = document.metadata if isinstance(document.metadata, Mapping) else {}  # else rejected later on
            of, count = metadata.get(OF), metadata.get(COUNT)
            if isinstance(of, str) and isinstance(count, int) and count < _NEVER and metadata.get(NUMBER) == 1:
                self._counts[of] = count
            yield document

    def remove_stale(self, engine: Engine) -> int:
        """Delete the passages beyond the noted counts, and commit; return how many there were.

        Those of a document whose first passage is not there with that count stay: its new version was rejected.
        """
        removed = 0
        noted = {of: count for of, count in self._counts.items() if not id_fault(passage_id(of, count + 1))}
        for batch in in_batches(noted.items(), BATCH):
            firsts = engine.get([passage_id(of, 1) for of, _ in batch])
            beyond = engine.get([passage_id(of, count + 1) for of, count in batch])
            stale = [
                id
                for (of, count), first, other in zip(batch, firsts, beyond, strict=True)
                if first is not None and other is not None and count_of(first) == count
                for id in _numbered(of, count + 1, _credible(engine, other))
            ]
            removed += engine.delete(stale) if stale else 0
        if removed:
            engine.commit()
        return removed


def with_passages(engine: Engine, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return id -> itself and, in an index of passages, the ids of its passages."""
    if OF not in engine.settings.fields:
        return {id: [id] for id in ids}
    # An id that is too long for a passage's has none.
    firsts = engine.get([first if len((first := passage_id(id, 1)).encode()) <= LONGEST_ID else id for id in ids])
    return {id: [id, *_numbered(id, 1, _credible(engine, first))] for id, first in zip(ids, firsts, strict=True)}


def _numbered(document_id: str, first: int, last: int) -> list[str]:
    return [passage_id(document_id, number) for number in range(first, last + 1)]


def _credible(engine: Engine, first: Document | None) -> int:
    """Return how many passages a document has: what its first one says, but no more than there can be."""
    count = count_of(first)
    return count if count <= _FEW else min(count, max(_FEW, engine.count()))


def fetched(engine: Engine, ids: Sequence[str]) -> list[Document | None]:
    """Fetch documents by id, None for unknown ids; in an index of passages a document is put together of its own."""
    found = engine.get(ids)
    missing = [id for id, document in zip(ids, found, strict=True) if document is None]
    if not missing or OF not in engine.settings.fields:
        return found
    whole: dict[str, Document] = {}
    for id, (_, *parts) in with_passages(engine, missing).items():
        if passages := [passage for passage in engine.get(parts) if passage is not None]:
            whole[id] = joined(id, passages)
    return [whole.get(id) if document is None else document for id, document in zip(ids, found, strict=True)]
