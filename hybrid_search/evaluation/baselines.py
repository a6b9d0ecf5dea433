"""The two systems that no index serves: a random order, and exact search with another encoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.protocols import Encoder, Task, Vectors
from hybrid_search.settings.index import Similarity
from hybrid_search.streams import in_document_batches
from hybrid_search.types import Document, Query, Ranking, by_score_then_id

__all__ = ["exact_rankings", "random_ranking"]

_BATCH = 1_024

Floats = NDArray[np.float32]


def random_ranking(ids: Sequence[str], query_id: str, depth: int, seed: int) -> Ranking:
    """Draw ``depth`` documents in random order; the draw depends on the seed and the query's id alone."""
    generator = np.random.default_rng([seed, zlib.crc32(query_id.encode())])
    drawn = generator.choice(len(ids), size=min(depth, len(ids)), replace=False)
    return Ranking(tuple(ids[number] for number in drawn.tolist()), tuple(map(float, range(len(drawn), 0, -1))))


def exact_rankings(
    encoder: Encoder, documents: Iterable[Document], queries: Sequence[Query], depth: int, task: Task
) -> list[Ranking]:
    """Rank a whole corpus for each query with an encoder, exactly, in one pass over the documents.

    Memory holds ``depth`` candidates for each query and one batch of vectors. As in an index, a query with a zero
    vector finds nothing, and a document with one is never found.

    :param task: advanced by one per document.
    :return: per query the best documents; scores are cosines, dot products or negative squared distances.
    """
    query_vectors = encoder.encode_queries([query.text for query in queries])
    best = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    numbers = np.zeros((len(queries), 0), dtype=np.int64)  # of documents, in the order of ``ids``
    ids: list[str] = []
    for batch in in_document_batches(documents, _BATCH):
        vectors = encoder.encode_documents([document.searchable_text for document in batch])
        scores = _SIMILARITIES[encoder.similarity](query_vectors, vectors)
        scores[:, ~vectors.any(axis=1)] = -np.inf
        new = np.broadcast_to(np.arange(len(ids), len(ids) + len(batch)), scores.shape)
        best, numbers = _keep(np.hstack([best, scores]), np.hstack([numbers, new]), depth)
        ids += [document.id for document in batch]
        task.advance(len(batch))
    known = [bool(row.any()) for row in query_vectors]
    return [_ranking(ids, numbers[row], best[row]) if known[row] else Ranking((), ()) for row in range(len(queries))]


def _keep(scores: Floats, numbers: NDArray[np.int64], depth: int) -> tuple[Floats, NDArray[np.int64]]:
    if scores.shape[1] <= depth:
        return scores, numbers
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(numbers, best, axis=1)


def _ranking(ids: Sequence[str], numbers: NDArray[np.int64], scores: Floats) -> Ranking:
    found = np.isfinite(scores)
    pairs = zip((ids[number] for number in numbers[found].tolist()), scores[found].tolist(), strict=True)
    ordered = by_score_then_id(pairs)
    return Ranking(tuple(id for id, _ in ordered), tuple(score for _, score in ordered))


def _dot(queries: Vectors, documents: Vectors) -> Floats:
    return queries @ documents.T


def _cosine(queries: Vectors, documents: Vectors) -> Floats:
    return _dot(_unit(queries), _unit(documents))


def _negative_squared_distance(queries: Vectors, documents: Vectors) -> Floats:
    squares: Floats = (queries**2).sum(axis=1)[:, None] + (documents**2).sum(axis=1)[None, :]
    return 2 * _dot(queries, documents) - squares


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny, dtype=np.float32)
    return unit


_SIMILARITIES: Mapping[Similarity, Callable[[Vectors, Vectors], Floats]] = {
    "cosine": _cosine,
    "dot": _dot,
    "l2": _negative_squared_distance,
}
