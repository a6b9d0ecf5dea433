"""Keep an evaluation's results in an index beside the one evaluated, to be looked at over time."""

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
    from hybrid_search.engines.opensearch.index.side_index import CompanionIndex
    from hybrid_search.evaluation.evaluate import EvaluateResult

__all__ = ["Evaluated", "EvaluationStore", "entries_of", "evaluation_store"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was evaluated on what.

    :ivar index: the evaluated index by its own name, when the alias that it was asked for by moves on.
    """

    index: str
    fingerprint: str
    dataset: str
    judgement_set: str


class EvaluationStore:
    """Where results go. Made by :func:`evaluation_store`."""

    def __init__(self, index: CompanionIndex, source: tuple[str, str]) -> None:
        self._index = index
        self._source = source

    @property
    def name(self) -> str:
        """The name of the index that results are written to."""
        return self._index.name

    def store(self, result: EvaluateResult, dataset: str, judgement_set: str = "", *, seed: int = 0) -> int:
        """Write an entry for each system; returns how many. When this returns, they can be searched.

        :param seed: of the resampling, as it was printed with.
        :raises SearchIndexError: if the server does not take them.
        """
        evaluated = Evaluated(*self._source, dataset, judgement_set)
        entries = list(entries_of(result, evaluated, datetime.now(UTC), seed=seed))
        self._index.write(entries, visible=True)
        return len(entries)


@contextmanager
def evaluation_store(location: str) -> Iterator[EvaluationStore]:
    """Open the store of an index, making it if need be: before a long evaluation, not after it.

    :raises UsageError: for an index in a folder, which has none.
    :raises SearchIndexError: if the server does not let us.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: results are stored beside an index on a server only; leave --store out")
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.index.side_index import CompanionIndex

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
    """Make an entry for each system: its measures, its difference to BM25 with interval, its latency where measured."""
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
    """``nDCG@10`` as ``ndcg_at_10``: an at sign means something in the query languages of Dashboards."""
    return measure.lower().replace("@", "_at_")


def _comparison(told: Mapping[str, Any]) -> dict[str, Any]:
    low, high = told.get("difference_interval") or (None, None)
    return {
        "difference_to_bm25": told.get("difference"),
        "difference_low": low,
        "difference_high": high,
        "p_holm": told.get("p_holm"),
    }
