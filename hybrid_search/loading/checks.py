"""Check that an index on a server holds what was loaded, and finds it, before anybody is sent there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hybrid_search.opening import open_encoder
from hybrid_search.protocols import Encoder, Vectors
from hybrid_search.search import Mode, Search
from hybrid_search.types import Document, Ranking

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine

__all__ = ["LEAST_RECALL", "MOST_REJECTED", "SAMPLE", "Check", "Expected", "check_index", "recall_of"]

SAMPLE = 64
"""Documents that are read back, and queries that are made of them."""

LEAST_RECALL = 0.9
"""Share of the exact ten nearest neighbours that the graph must find within the fusion's window, by default."""

MOST_REJECTED = 0.1
"""Share of a data set's records that may be missing for having been rejected; of an index's documents none may."""

_NEIGHBOURS = 10
_QUERY_WORDS = 8
_SAME_SCORE = 1e-5
_SAME_NUMBER = 1e-4


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    :ivar told: what was found, and what would have been enough, for people to read.
    """

    name: str
    passed: bool
    told: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What an index should hold.

    :ivar documents: how many the load was told are in.
    :ivar fewest: fewer are right too, where other writers were at work meanwhile; None for not.
    :ivar rejected: how many records were refused, by the loader or by the index.
    :ivar most_rejected: share of the records that may be, 0..1.
    :ivar sample: some of the documents that were loaded.
    :ivar refused_before: how many more were refused before the load was resumed.
    :ivar least_recall: of the graph, 0..1.
    :ivar refused: ids of documents that the index refused, which may be in the sample.
    """

    documents: int
    rejected: int
    sample: Sequence[Document]
    refused: Collection[str] = ()
    refused_before: int = 0
    fewest: int | None = None
    least_recall: float = LEAST_RECALL
    most_rejected: float = MOST_REJECTED


def check_index(engine: OpenSearchEngine, expected: Expected) -> list[Check]:
    """Look at an index's number of documents, texts, vectors, towers and answers.

    The towers are those that the index carries, as a reader on another machine will have them.

    :raises SearchIndexError: if the server can't be asked.
    """
    sample = _taken(engine, expected)
    checks = [_counted(engine, expected), _rejected(expected), _texts(engine, sample)]
    encoder = open_encoder(engine, None)
    checks.append(_fingerprint(engine, encoder))
    queries = [" ".join(document.searchable_text.split()[:_QUERY_WORDS]) for document in sample]
    if encoder is None:
        return [*checks, *_answers(engine, queries, None)]
    if not checks[-1].passed:
        return checks
    vectors = encoder.encode_queries(queries)
    return [
        *checks,
        _vectors(engine, encoder, sample),
        *_recall(engine, vectors, expected.least_recall),
        *_answers(engine, queries, vectors),
    ]


def _taken(engine: OpenSearchEngine, expected: Expected) -> list[Document]:
    """Return the sampled documents that the index should have."""
    sample = [document for document in expected.sample if document.id not in expected.refused]
    if not expected.refused_before:
        return sample
    stored = engine.get([document.id for document in sample])
    there = [document for document, held in zip(sample, stored, strict=True) if held is not None]
    return there if len(sample) - len(there) <= expected.refused_before else sample


def _counted(engine: OpenSearchEngine, expected: Expected) -> Check:
    count, wanted = engine.count(), expected.documents
    fewest = wanted if expected.fewest is None else expected.fewest
    told = f"{count:,} in the index, {wanted:,} acknowledged" + (f" (or {fewest:,})" if fewest != wanted else "")
    return Check("documents", count > 0 and fewest <= count <= wanted, told)


def _rejected(expected: Expected) -> Check:
    share = expected.rejected / max(1, expected.rejected + expected.documents)
    return Check(
        "rejected",
        share <= expected.most_rejected,
        f"{expected.rejected:,} ({share:.1%}, at most {expected.most_rejected:.0%})",
    )


def _texts(engine: OpenSearchEngine, sample: Sequence[Document]) -> Check:
    stored = engine.get([document.id for document in sample])
    other = [document.id for document, held in zip(sample, stored, strict=True) if held != document]
    return _of_sample("texts and metadata", sample, other, "as they were loaded")


def _vectors(engine: OpenSearchEngine, encoder: Encoder, sample: Sequence[Document]) -> Check:
    stored = engine.vectors([document.id for document in sample])
    made = encoder.encode_documents([document.searchable_text for document in sample])
    other = []
    for document, vector in zip(sample, made, strict=True):
        held = stored.get(document.id, np.zeros_like(vector))
        if held.shape != vector.shape or not np.allclose(held, vector, atol=_SAME_NUMBER):
            other.append(document.id)
    return _of_sample("vectors", sample, other, "as the document tower makes them")


def _of_sample(name: str, sample: Sequence[Document], other: Sequence[str], wanted: str) -> Check:
    told = f"{len(sample) - len(other)} of {len(sample)} sampled {wanted}"
    return Check(name, not other, told + (f"; not {', '.join(other[:5])}" if other else ""))


def _fingerprint(engine: OpenSearchEngine, encoder: Encoder | None) -> Check:
    ours = engine.settings.fingerprint
    stored = encoder.fingerprint if encoder else ""
    told = f"{ours[:12] or 'no vectors'}; the towers stored with it: {stored[:12] or 'none'}"
    return Check("fingerprint", ours == stored, told)


def _recall(engine: OpenSearchEngine, vectors: Vectors, least: float) -> Iterator[Check]:
    """Compare the walk over the graph, as a hybrid query does it, with a comparison with every vector."""
    asked = vectors[vectors.any(axis=1)]
    if not len(asked):
        return
    found = engine.rank(Search.near(asked, engine.settings.fusion.window))
    # One at a time: over millions of vectors this takes the server seconds.
    exact = [engine.rank(Search.near(vector[None], _NEIGHBOURS, exact=True))[0] for vector in asked]
    recall = float(np.mean([recall_of(ours, truth) for ours, truth in zip(found, exact, strict=True)]))
    told = (
        f"recall@{_NEIGHBOURS} {recall:.3f} of the graph against exact search, {len(asked)} queries "
        f"(at least {least:g})"
    )
    yield Check("graph", recall >= least, told)


def recall_of(found: Ranking, truth: Ranking) -> float:
    """Return the share of the true neighbours found; another one that is as near counts too."""
    if not truth.scores:
        return 1.0
    farthest = truth.scores[-1] - _SAME_SCORE
    return min(1.0, sum(score >= farthest for score in found.scores) / len(truth))


def _answers(engine: OpenSearchEngine, queries: Sequence[str], vectors: Vectors | None) -> Iterator[Check]:
    """Ask one query of each leg and of both."""
    place = next((n for n, text in enumerate(queries) if vectors is None or vectors[n].any()), None)
    if place is None:
        return
    text = queries[place : place + 1]
    vector = None if vectors is None else vectors[place : place + 1]
    modes: Sequence[Mode] = ("bm25",) if vector is None else ("bm25", "knn", "hybrid")
    hits = {mode: len(engine.search(Search.of(text, _NEIGHBOURS, mode, vectors=vector))[0]) for mode in modes}
    told = ", ".join(f"{name} {count} hits" for name, count in hits.items())
    yield Check("query", all(hits.values()), told)
