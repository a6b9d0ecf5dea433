"""Measures a sample of an index's documents, and stores the figures in the index NAME-statistics for Dashboards.

A search can't compute lengths in tokens, the share of words that the towers' vocabulary lacks, or the norms of vectors:
they depend on the tokenizer, and vectors can't be aggregated. Stored with every document they would enlarge the index
and change its format; a sample is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.dashboards.exports import open_server_index
from hybrid_search.errors import DataError, UsageError
from hybrid_search.protocols import Progress, silent
from hybrid_search.streams import in_batches

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.towers.coverage import Words

__all__ = ["MOST", "Measured", "measure_documents"]

MOST = 10_000
"""Most documents of a sample."""

_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over a sample of documents.

    :ivar kept_in: name of the index that the figures of each document are stored in.
    :ivar documents: number of documents in the index.
    :ivar sampled: number of documents in the sample.
    :ivar tokens: mean length in tokens; without towers in words separated by white space.
    :ivar cut: share of documents that are longer than the document tower reads, 0..1.
    :ivar out_of_vocabulary: mean share of a document's words that are not whole in the vocabulary, 0..1; None without
        towers.
    :ivar without_vector: share of documents without a vector, 0..1.
    """

    kept_in: str
    documents: int
    sampled: int
    tokens: float
    cut: float
    out_of_vocabulary: float | None
    without_vector: float


def measure_documents(location: str, *, sample: int = 2_000, seed: int = 0, progress: Progress = silent) -> Measured:
    """Measure randomly drawn documents, and replace the figures that are stored.

    :param sample: number of documents, 1 to :data:`MOST`; if the index has fewer, all are measured.
    :param seed: of the draw.
    :raises UsageError: if ``sample`` is out of range, or for an index in a folder.
    :raises DataError: if the index is empty.
    :raises SearchIndexError: if the server can't be reached, or refuses the figures.
    """
    from hybrid_search.engines.opensearch.index import CompanionIndex
    from hybrid_search.towers.coverage import Words

    if not 1 <= sample <= MOST:
        raise UsageError(f"sample is {sample}; it must be from 1 to {MOST}")
    with open_server_index(location) as engine:
        place, count = engine.place, engine.count()
        ids = engine.drawn(sample, seed)
        if not ids:
            raise DataError(f"{location}: there is no document to measure; load some first")
        words = Words.of(engine.model_folder())
        common = _common(engine, count, len(ids))
        entries: list[dict[str, Any]] = []
        with progress("measuring", len(ids)) as task:
            for batch in in_batches(ids, _AT_ONCE):
                entries += [common | entry for entry in _entries(engine, batch, words)]
                task.advance(len(batch))
        with closing(CompanionIndex(place.asked, "statistics")) as kept:
            kept.clear({"term": {"kind": "document"}})
            for some in in_batches(entries, 1_000):
                kept.write(some, visible=True)
        return _summary(entries, count, kept.name)


def _common(engine: OpenSearchEngine, count: int, sampled: int) -> dict[str, Any]:
    fingerprint = engine.settings.fingerprint
    return {
        "kind": "document",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "index": engine.place.address.index,
        "of": count,
        "sampled": sampled,
        **({"fingerprint": fingerprint} if fingerprint else {}),
    }


def _entries(engine: OpenSearchEngine, ids: Sequence[str], words: Words) -> Iterator[dict[str, Any]]:
    found = [document for document in engine.get(ids) if document is not None]
    vectors: Mapping[str, NDArray[np.float32]] = engine.vectors(ids) if engine.settings.dimension else {}
    figures = words.measure([document.searchable_text for document in found])
    for document, of_text in zip(found, figures, strict=True):
        yield {
            "document": document.id,
            "characters": len(document.searchable_text),
            **of_text,
            **_of_vector(vectors.get(document.id)),
        }


def _of_vector(vector: NDArray[np.float32] | None) -> dict[str, Any]:
    if vector is None:
        return {"has_vector": False}
    return {"has_vector": True, "norm": round(float(np.linalg.norm(vector.astype(np.float64))), 6)}


def _summary(entries: Sequence[Mapping[str, Any]], count: int, kept_in: str) -> Measured:
    def mean(name: str) -> float:
        values = [float(entry[name]) for entry in entries if name in entry]
        return round(sum(values) / len(values), 4) if values else 0.0

    return Measured(
        kept_in=kept_in,
        documents=count,
        sampled=len(entries),
        tokens=mean("tokens"),
        cut=mean("cut"),
        out_of_vocabulary=mean("out_of_vocabulary") if any("out_of_vocabulary" in one for one in entries) else None,
        without_vector=round(1 - mean("has_vector"), 4),
    )
