"""Checks that an index on a server contains what was loaded, and finds it, before it goes live."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hybrid_search.engines.documents import as_stored
from hybrid_search.opening import open_encoder
from hybrid_search.protocols import Encoder, Vectors
from hybrid_search.search import Mode, Search
from hybrid_search.types import Document, Ranking

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine

__all__ = ["LEAST_RECALL", "MOST_REJECTED", "SAMPLE", "Check", "Expected", "check_index", "recall_of"]

SAMPLE = 64
"""Number of documents that are read back, and of queries made from them."""

LEAST_RECALL = 0.9
"""Default share of the exact ten nearest neighbours that the graph must find within the fusion's window."""

MOST_REJECTED = 0.1
"""Default maximum share of a data set's records that may be rejected; when reindexing, none may be."""

_NEIGHBOURS = 10
_QUERY_WORDS = 8
_SAME_SCORE = 1e-5
_SAME_NUMBER = 1e-4


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    :ivar told: what was found and what is required, for display.
    """

    name: str
    passed: bool
    told: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What an index should contain.

    :ivar documents: number of documents, as acknowledged to the load.
    :ivar fewest: smaller number that is also accepted, if others were writing meanwhile; None for none.
    :ivar rejected: number of records rejected by the reader or the index.
    :ivar most_rejected: maximum share of such records, 0..1.
    :ivar sample: some of the documents that were loaded.
    :ivar refused_before: number of documents rejected before the load was resumed.
    :ivar least_recall: minimum recall of the graph, 0..1.
    :ivar refused: ids of documents that the index rejected, which may be in the sample.
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
    """Check an index's number of documents, texts, vectors, towers and answers.

    The towers are those stored with the index, which a reader on another machine will use.

    :raises SearchIndexError: if the server can't be reached.
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
    """Return the documents of the sample that the index should contain."""
    sample = [document for document in expected.sample if document.id not in expected.refused]
    if not expected.refused_before:
        return sample
    stored = engine.get([document.id for document in sample])
    there = [document for document, found in zip(sample, stored, strict=True) if found is not None]
    return there if len(sample) - len(there) <= expected.refused_before else sample


def _counted(engine: OpenSearchEngine, expected: Expected) -> Check:
    count, most = engine.count(), expected.documents
    fewest = most if expected.fewest is None else expected.fewest
    text = f"{count:,} in the index, {most:,} acknowledged" + (f" (or {fewest:,})" if fewest != most else "")
    return Check("documents", count > 0 and fewest <= count <= most, text)


def _rejected(expected: Expected) -> Check:
    share = expected.rejected / max(1, expected.rejected + expected.documents)
    return Check(
        "rejected",
        share <= expected.most_rejected,
        f"{expected.rejected:,} ({share:.1%}, at most {expected.most_rejected:.0%})",
    )


def _texts(engine: OpenSearchEngine, sample: Sequence[Document]) -> Check:
    stored = engine.get([document.id for document in sample])
    fields = engine.settings.fields
    loaded = [as_stored(document, fields) for document in sample]
    other = [document.id for document, found in zip(loaded, stored, strict=True) if found != document]
    return _of_sample("texts and metadata", sample, other, "as they were loaded")


def _vectors(engine: OpenSearchEngine, encoder: Encoder, sample: Sequence[Document]) -> Check:
    stored = engine.vectors([document.id for document in sample])
    made = encoder.encode_documents([document.searchable_text for document in sample])
    other = []
    for document, vector in zip(sample, made, strict=True):
        found = stored.get(document.id, np.zeros_like(vector))
        if found.shape != vector.shape or not np.allclose(found, vector, atol=_SAME_NUMBER):
            other.append(document.id)
    return _of_sample("vectors", sample, other, "as the document tower makes them")


def _of_sample(name: str, sample: Sequence[Document], other: Sequence[str], condition: str) -> Check:
    text = f"{len(sample) - len(other)} of {len(sample)} sampled {condition}"
    return Check(name, not other, text + (f"; not {', '.join(other[:5])}" if other else ""))


def _fingerprint(engine: OpenSearchEngine, encoder: Encoder | None) -> Check:
    ours = engine.settings.fingerprint
    stored = encoder.fingerprint if encoder else ""
    text = f"{ours[:12] or 'no vectors'}; the towers stored with it: {stored[:12] or 'none'}"
    return Check("fingerprint", ours == stored, text)


def _recall(engine: OpenSearchEngine, vectors: Vectors, least: float) -> Iterator[Check]:
    """Compare the graph's neighbours, searched as in a hybrid query, with an exact comparison."""
    queries = vectors[vectors.any(axis=1)]
    if not len(queries):
        return
    found = engine.rank(Search.near(queries, engine.settings.fusion.window))
    # One query at a time, as each takes the server seconds for millions of vectors.
    exact = [engine.rank(Search.near(vector[None], _NEIGHBOURS, exact=True))[0] for vector in queries]
    recall = float(np.mean([recall_of(ours, truth) for ours, truth in zip(found, exact, strict=True)]))
    text = (
        f"recall@{_NEIGHBOURS} {recall:.3f} of the graph against exact search, {len(queries)} queries "
        f"(at least {least:g})"
    )
    yield Check("graph", recall >= least, text)


def recall_of(found: Ranking, truth: Ranking) -> float:
    """Return the share of the true neighbours that were found; others at the same distance count, too."""
    if not truth.scores:
        return 1.0
    farthest = truth.scores[-1] - _SAME_SCORE
    return min(1.0, sum(score >= farthest for score in found.scores) / len(truth))


def _answers(engine: OpenSearchEngine, queries: Sequence[str], vectors: Vectors | None) -> Iterator[Check]:
    """Check that a query has hits in each leg and in both."""
    position = next((n for n, text in enumerate(queries) if vectors is None or vectors[n].any()), None)
    if position is None:
        return
    one_query = queries[position : position + 1]
    vector = None if vectors is None else vectors[position : position + 1]
    modes: Sequence[Mode] = ("bm25",) if vector is None else ("bm25", "knn", "hybrid")
    hits = {mode: len(engine.search(Search.of(one_query, _NEIGHBOURS, mode, vectors=vector))[0]) for mode in modes}
    text = ", ".join(f"{name} {count} hits" for name, count in hits.items())
    yield Check("query", all(hits.values()), text)
