"""Stores an evaluation's results in an index beside the evaluated one, to compare them over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hybrid_search.errors import UsageError
from hybrid_search.evaluation.report import as_json, compare_with_bm25
from hybrid_search.opening import is_on_server

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.index import CompanionIndex
    from hybrid_search.evaluation.evaluate import EvaluateResult

__all__ = ["Evaluated", "EvaluationStore", "entries_of", "evaluation_store"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The evaluated index and model, and the data set.

    :ivar index: the index's own name, even if it was opened by an alias.
    :ivar fingerprint: of the index's model; empty without vectors.
    """

    index: str
    fingerprint: str
    dataset: str
    judgement_set: str


class EvaluationStore:
    """Writes results to the index ``NAME-evaluations``. Made by :func:`evaluation_store`."""

    def __init__(self, index: CompanionIndex, source: tuple[str, str]) -> None:
        self._index = index
        self._source = source

    @property
    def name(self) -> str:
        """Name of the index that the results are written to."""
        return self._index.name

    def store(self, result: EvaluateResult, dataset: str, judgement_set: str = "", *, seed: int = 0) -> int:
        """Write an entry for each system; returns how many. They are searchable when this returns.

        :param seed: of the resampling; the same as for the printed report.
        :raises SearchIndexError: if the server refuses them.
        """
        evaluated = Evaluated(*self._source, dataset, judgement_set)
        entries = list(entries_of(result, evaluated, datetime.now(UTC), seed=seed))
        self._index.write(entries, visible=True)
        return len(entries)


@contextmanager
def evaluation_store(location: str) -> Iterator[EvaluationStore]:
    """Open the store of an index and create it if it is missing, so that a missing right shows before the evaluation.

    :raises UsageError: for an index in a folder.
    :raises SearchIndexError: if the server refuses.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: results are stored beside an index on a server only")
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.index import CompanionIndex

    with OpenSearchEngine.open(location) as engine:
        place, fingerprint = engine.place, engine.settings.fingerprint
    index = CompanionIndex(place.asked, "evaluations")
    try:
        index.ensure()
        yield EvaluationStore(index, (place.address.index, fingerprint))
    finally:
        index.close()


def entries_of(
    result: EvaluateResult, evaluated: Evaluated, time: datetime, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield an entry for each system: measures, difference to BM25 with interval, and latency if it was measured."""
    evaluation = result.evaluation
    report = as_json(evaluation, compare_with_bm25(evaluation, seed=seed), speed=result.speed)
    common = {
        "time": time.isoformat(timespec="milliseconds"),
        "evaluation": uuid4().hex,
        "index": evaluated.index,
        "fingerprint": evaluated.fingerprint or None,
        "dataset": evaluated.dataset,
        "split": result.split,
        "judgement_set": evaluated.judgement_set or None,
        "depth": evaluation.settings.depth,
        "min_grade": evaluation.settings.min_grade,
        "queries": evaluation.counts.queries,
        "documents": evaluation.counts.documents,
    }
    for system, measures in report["systems"].items():
        latency = report["latency_ms"].get(system, {})
        entry = {
            **common,
            "system": system,
            **{_field(name): value for name, value in measures.items()},
            **_comparison(report["significance"]["systems"].get(system, {})),
            **{f"{percentile}_ms": value for percentile, value in latency.items()},
        }
        yield {name: value for name, value in entry.items() if value is not None}


def _field(measure: str) -> str:
    """Convert ``nDCG@10`` to ``ndcg_at_10``: the at sign is special in the query languages of Dashboards."""
    return measure.lower().replace("@", "_at_")


def _comparison(comparison: Mapping[str, Any]) -> dict[str, Any]:
    low, high = comparison.get("difference_interval") or (None, None)
    return {
        "difference_to_bm25": comparison.get("difference"),
        "difference_low": low,
        "difference_high": high,
        "p_holm": comparison.get("p_holm"),
    }
