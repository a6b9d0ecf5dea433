"""Protocols: what an encoder, an engine, a data set and a tracker must provide.

They need not be inherited; a class with these methods fits. Arrays are numpy's, vectors are float32 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hybrid_search.settings.index import Bm25, FieldType, Fusion, IndexSettings, Normalisation, Similarity
from hybrid_search.types import Document, Example, Hit, Judgement, Matches, Query, Ranking, Rejection

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
    "Reranker",
    "Task",
    "Tracker",
    "Vectors",
    "silent",
]

Vectors = NDArray[np.float32]
"""(n, dimension) float32 rows."""


Reranker = Callable[[str, Sequence[Hit]], Sequence[float] | NDArray[Any]]
"""Scores the hits of a query anew: one finite number for each, in their order; higher is better.

It is called once for each query that found something, from any thread that searches, several at a time: one that can't
bear that needs a lock of its own. ``hit.searchable_text`` is what the legs index.
"""


class Encoder(Protocol):
    """Converts texts to vectors, with a tower each for queries and documents."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines a vector: weights, tokenizer, configuration."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode with the query tower: (n, dimension), in order; a text without a known token has a zero row."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode with the document tower; otherwise as :meth:`encode_queries`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine supports; callers check this instead of trying.

    :ivar bm25_at_query_time: k1 and b can be given with a search.
    :ivar hides_uncommitted: added documents are only found after the commit; otherwise they may be found before.
    :ivar encodes_queries: the engine has the query tower, so vectors may be left out of searches in any mode.
    :ivar fusion_methods: the methods of a fusion that it has.
    """

    engine: str
    version: str
    bm25_at_query_time: bool
    hides_uncommitted: bool = True
    encodes_queries: bool = False
    fusion_methods: tuple[Normalisation, ...] = get_args(Normalisation)


class Engine(Protocol):
    """An index with a lexical and a dense leg. Methods take batches and return a result per query, in order."""

    @property
    def settings(self) -> IndexSettings:
        """The index's settings."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Add or replace documents with their vectors; a zero row for "no vector".

        :return: the rejected documents, with reasons; all others are added, and durable after :meth:`commit`.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        """

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; unknown ids are ignored. Return how many documents existed."""

    def declare(self, fields: Mapping[str, FieldType]) -> None:
        """Declare further metadata fields, name -> type; durable after :meth:`commit`.

        :raises IndexExists: if the index has one of them with another type.
        """

    def set_fusion(self, fusion: Fusion, bm25: Bm25 | None = None, *, asked_for: bool = True) -> None:
        """Change the index's default fusion, and BM25's k1 and b if they are given; durable after :meth:`commit`.

        The index counts as weighed then. Processes that have the index open keep the fusion that it had then.

        :param asked_for: an index that replaces this one takes it over; False for a choice that a load made.
        :raises UnsupportedCapability: if other k1 and b are given than the index's, and it was made with these.
        """

    def commit(self) -> None:
        """Make all additions and deletions durable and searchable in both legs."""

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None for unknown ids."""

    def vectors(self, ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return id -> (dimension,) of the given documents that have a vector, as it is stored."""

    def documents(self) -> Iterator[Document]:
        """Iterate over all documents, in the order in which they were first added."""

    def search(self, search: Search) -> list[list[Hit]]:
        """Answer each query with the requested hits, each with the text that was ranked.

        Documents that are replaced or deleted during the search are ranked again. A hit's ``legs`` contain what each
        leg contributed. In mode ``hybrid`` a query with a zero vector is fused with the weights (1, 0), so that the
        result does not depend on the weight of a leg without hits.

        :raises FilterError: if the filter does not fit the index's fields.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises UsageError: if the vectors are not one row of finite floats for each query.
        :raises UnsupportedCapability: if the engine can't search with these parameters.
        """

    def rank(self, search: Search) -> list[Ranking]:
        """As :meth:`search`, but return ids and scores only: no texts are read, and nothing is explained.

        Scores are BM25's, those of OpenSearch's k-NN scale, or the fusion's.
        """

    def matches(self, search: Search, facets: Sequence[str] = (), most_values: int = 10) -> list[Matches]:
        """Count the documents that match each query, and those with each value of metadata fields.

        By BM25 every document matches that has a term of the query; by k-NN, for which every vector is more or less
        near, the fusion's window of nearest ones (of the index's own fusion in mode ``knn``, or ``k`` and the offset if
        they reach further). A hybrid search matches what either leg does, or with ``min_score`` what scores so much.

        :param facets: fields whose values are counted.
        :param most_values: most values of a field in the result.
        :raises FilterError: if a field is not declared; otherwise as :meth:`search`.
        """

    def store_model(self, files: Sequence[Path]) -> None:
        """Copy the serving files of the towers that made the vectors into the index."""

    def model_folder(self) -> Path | None:
        """Return the folder of the stored model's files on this machine, None if no model is stored."""

    def count(self) -> int:
        """Count the committed documents."""

    def stats(self) -> Mapping[str, Any]:
        """Sizes and counts, for display."""

    def close(self) -> None:
        """Release files and locks; uncommitted changes are discarded."""


class AsyncEngine(Protocol):
    """The searches of an engine for ``asyncio``; see :class:`Engine`."""

    async def search(self, search: Search) -> list[list[Hit]]:
        """Answer each query with its hits."""

    async def matches(self, search: Search, facets: Sequence[str] = (), most_values: int = 10) -> list[Matches]:
        """Count the documents that match each query."""

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None for unknown ids."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class AwaitableEngine(Protocol):
    """An engine with asynchronous searches."""

    def asynchronous(self) -> AsyncEngine:
        """Return its searches for ``asyncio``, for one event loop; close them before the engine.

        :raises MissingExtra: if a package that they need is not installed.
        """


class Dataset(Protocol):
    """A data set opened by a loader: documents, and for some also queries, judgements and training examples."""

    @property
    def name(self) -> str:
        """The loader's name."""

    def documents(self) -> Iterator[Document]:
        """Stream the corpus, each document once."""

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have queries, training first."""

    def judgement_sets(self) -> tuple[str, ...]:
        """Return the names of the judgement sets, the default one first."""

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries."""

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements, of the default set unless another is named."""

    def examples(self, split: str) -> Iterator[Example]:
        """Stream training examples that the data set provides (triples, result pages); empty if there are none."""

    def report(self) -> Mapping[str, int]:
        """Counts made while reading so far: duplicates, blanks, rows without an answer and so on."""


class Tracker(Protocol):
    """Records the numbers of a training run."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record values at a step."""

    def close(self) -> None:
        """Flush and release resources."""


class Task(Protocol):
    """A long task whose progress is shown."""

    def advance(self, amount: int = 1) -> None:
        """Report that this much more is done."""

    def note(self, text: str) -> None:
        """Show a short note beside count and rate, replacing the previous one."""


Progress = Callable[[str, int | None], AbstractContextManager[Task]]
"""Starts a task: (label, total or None if unknown) -> context manager with ``advance``."""


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
    """Where long tasks report to; by default nowhere.

    :ivar progress: shows the progress of each task.
    :ivar say: shows messages.
    :ivar reject: called with each record that can't be used, with the reason.
    """

    progress: Progress = silent
    say: Callable[[str], None] = lambda text: None
    reject: Callable[[Rejection], None] = lambda rejection: None

    def rejecting(self, reject: Callable[[Rejection], None]) -> Self:
        """Return a copy with another ``reject``."""
        return replace(self, reject=reject)
