"""The seams: what an encoder, an engine, a data set and a tracker must offer.

Nothing here is inherited from; a class that has the methods fits. Arrays are numpy, vectors are float32 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hybrid_search.settings.index import Fusion, IndexSettings, Similarity
from hybrid_search.types import Document, Example, Hit, Judgement, Query, Ranking, Rejection

if TYPE_CHECKING:
    from hybrid_search.search import Search

__all__ = [
    "AsyncEngine",
    "AwaitableEngine",
    "Capabilities",
    "Dataset",
    "Encoder",
    "Engine",
    "Progress",
    "Task",
    "Tracker",
    "Vectors",
    "silent",
]

Vectors = NDArray[np.float32]
"""(n, dimension) float32 rows."""


class Encoder(Protocol):
    """Turns texts into vectors. Queries and documents have a tower each."""

    @property
    def fingerprint(self) -> str:
        """Names what decides a vector: weights, tokenizer, configuration."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    @property
    def similarity(self) -> Similarity:
        """How two vectors are compared."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode with the query tower: (n, dimension), in the order given; a text with no known token is a zero row."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode with the document tower; otherwise as :meth:`encode_queries`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, read once; a caller asks here instead of trying.

    :ivar exact_knn: the k-NN leg returns the true nearest neighbours.
    :ivar bm25_at_query_time: k1 and b can be given with a search.
    :ivar stored_models: the index keeps the towers that made its vectors.
    :ivar hides_uncommitted: what was added is found after the commit only; otherwise it may come to light before.
    :ivar encodes_queries: the engine has the query tower: it answers searches without vectors in every mode.
    """

    engine: str
    version: str
    exact_knn: bool
    bm25_at_query_time: bool
    stored_models: bool
    hides_uncommitted: bool = True
    encodes_queries: bool = False


class Engine(Protocol):
    """An index with a lexical and a dense leg. Batches in, one result per query out, in the order given."""

    @property
    def settings(self) -> IndexSettings:
        """The settings that the index carries."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Add or replace documents with their vectors; a zero row stands for "no vector".

        :return: the documents that were refused, with the reason; all others are in (acknowledged by :meth:`commit`).
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        """

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; ids that are not there are ignored. Returns how many were."""

    def set_fusion(self, fusion: Fusion) -> None:
        """Let the index fuse like this where a search names nothing else; acknowledged by :meth:`commit`.

        Whoever has the index open goes on with the fusion that it had then.
        """

    def commit(self) -> None:
        """Make everything added and deleted so far durable and searchable in both legs."""

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None where there is none."""

    def documents(self) -> Iterator[Document]:
        """Iterate over all documents, in the order of their first addition."""

    def search(self, search: Search) -> list[list[Hit]]:
        """Answer each query with its hits of the ranks that are wanted, each with its text as it was ranked.

        What was replaced or deleted in between is ranked again. A hit's ``legs`` say what each leg contributed. In mode
        ``hybrid`` a query whose vector is zero is answered with the weights (1, 0), so that its answer does not depend
        on the weight of a leg that is empty.

        :raises FilterError: if the filter does not fit the index's fields.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises UsageError: if the vectors are not one row of finite floats for each query.
        :raises UnsupportedCapability: if the engine can't search with these parameters.
        """

    def rank(self, search: Search) -> list[Ranking]:
        """Answer as :meth:`search`, with ids and scores alone: no texts are read, and nothing is explained.

        Scores are BM25's, those of OpenSearch's k-NN scale, or the fusion's.
        """

    def store_model(self, files: Sequence[Path]) -> None:
        """Copy a model's serving files into the index, so that it carries the towers that made its vectors."""

    def model_folder(self) -> Path | None:
        """Where the stored model's files lie on this machine, None when none are stored."""

    def count(self) -> int:
        """Count the committed documents."""

    def stats(self) -> Mapping[str, Any]:
        """Sizes and counts for people to read."""

    def close(self) -> None:
        """Release files and locks. What was not committed is dropped."""


class AsyncEngine(Protocol):
    """The searches of an engine for ``asyncio``; see :class:`Engine`."""

    async def search(self, search: Search) -> list[list[Hit]]:
        """Answer each query with its hits."""

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None where there is none."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class AwaitableEngine(Protocol):
    """An engine that can be asked without blocking an event loop."""

    def asynchronous(self) -> AsyncEngine:
        """Return its searches for ``asyncio``, for one event loop; to be closed before the engine.

        :raises MissingExtra: if what they need is not installed.
        """


class Dataset(Protocol):
    """What a loader opens: documents, and for some data sets queries, judgements and training examples."""

    @property
    def name(self) -> str:
        """The loader's name."""

    def documents(self) -> Iterator[Document]:
        """Stream the corpus, each document once."""

    def splits(self) -> tuple[str, ...]:
        """Splits that have queries, training first."""

    def judgement_sets(self) -> tuple[str, ...]:
        """Names of the judgement sets, the default one first."""

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries."""

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements, of the default set unless another is named."""

    def examples(self, split: str) -> Iterator[Example]:
        """Stream training examples that come ready made (triples, result pages); nothing where there are none."""

    def report(self) -> Mapping[str, int]:
        """What was counted while reading so far: duplicates, blanks, rows without an answer and so on."""


class Tracker(Protocol):
    """Where a training run writes its numbers."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record values at a step."""

    def close(self) -> None:
        """Flush and release."""


class Task(Protocol):
    """One piece of long work that is shown to a person."""

    def advance(self, amount: int = 1) -> None:
        """Report that this much more is done."""

    def note(self, text: str) -> None:
        """Say in a few words how it is going, beside count and rate; replaces what was said before."""


Progress = Callable[[str, int | None], AbstractContextManager[Task]]
"""Starts a task: (label, total or None when unknown) -> context manager with ``advance``."""


class _SilentTask:
    def __enter__(self) -> _SilentTask:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, amount: int = 1) -> None:
        return None

    def note(self, text: str) -> None:
        return None


def silent(label: str, total: int | None) -> AbstractContextManager[Task]:
    """Show nothing; the library's default :data:`Progress`."""
    return _SilentTask()


@dataclass(frozen=True, slots=True)
class Reporter:
    """Where long work tells of itself; by default nowhere.

    :ivar progress: shows how far each of its tasks is.
    :ivar say: takes messages for people.
    :ivar reject: takes each record that can't be used, with the reason.
    """

    progress: Progress = silent
    say: Callable[[str], None] = lambda text: None
    reject: Callable[[Rejection], None] = lambda rejection: None

    def rejecting(self, reject: Callable[[Rejection], None]) -> Self:
        """Return one whose rejected records go elsewhere."""
        return replace(self, reject=reject)
