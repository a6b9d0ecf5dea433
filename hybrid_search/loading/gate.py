"""The gate before an alias moves: what a new index must not lose against the live one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hybrid_search.engines.opensearch.search import filter_query
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.evaluation.evaluate import EvaluateRequest, evaluate_side_by_side
from hybrid_search.evaluation.measures import PRIMARY
from hybrid_search.evaluation.protocol import Evaluation, System
from hybrid_search.evaluation.significance import compare
from hybrid_search.filters import Exists, Not, Or, Term
from hybrid_search.loading.checks import Check
from hybrid_search.opening import open_engine
from hybrid_search.passages import NUMBER, OF
from hybrid_search.protocols import Dataset

__all__ = ["MOST_FEWER", "Gate", "against", "in_folders", "not_fewer"]

MOST_FEWER = 0.1
"""Share of the live index's documents that the next one may lack without being asked for."""

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Gate:
    """How a new index is compared with the live one, and what then happens.

    :ivar may_be_smaller: let it go live even with less than nine tenths of the documents.
    :ivar judged: a data set with judged queries, on which it must not be significantly worse; None for no comparison.
    :ivar stage: leave the alias where it is; the checked index can be searched by its own name, and swapped in later.
    """

    may_be_smaller: bool = False
    judged: Dataset | None = None
    stage: bool = False


def not_fewer(client: Client, live: str, name: str, gate: Gate) -> Check:
    """Compare the numbers of documents; passages of one document count once."""
    return _compared(_documents(client, live), _documents(client, name), live, gate)


def in_folders(live: str | Path, candidate: str | Path, gate: Gate) -> list[Check]:
    """Compare an index in a folder with the one that is to replace it; the number of documents is one of passages."""
    with closing(open_engine(live)) as before, closing(open_engine(candidate)) as now:
        checks = [_compared(before.count(), now.count(), str(live), gate)]
    return [*checks, against(str(live), str(candidate), gate.judged)] if gate.judged is not None else checks


def _compared(before: int, now: int, live: str, gate: Gate) -> Check:
    told = f"{now:,}, {before:,} in {live}"
    if now >= (1 - MOST_FEWER) * before:
        return Check("documents against the live index", True, told)
    lost = f"{told}: {before - now:,} fewer, more than a tenth"
    allowed = "which was allowed" if gate.may_be_smaller else "`may_be_smaller` allows it"
    return Check("documents against the live index", gate.may_be_smaller, f"{lost}; {allowed}")


def _documents(client: Client, index: str) -> int:
    first = Or((Term(NUMBER, 1), Not(Exists(OF))))
    return int(client.call("POST", f"/{index}/_count", {"query": filter_query(first)})["count"])


def against(live: str, candidate: str, judged: Dataset) -> Check:
    """Compare the quality of two indexes on judged queries: nDCG@10 of what a search does by default, paired by query.

    Of an index without vectors that is BM25, of another the hybrid.

    :param live: location of the index that is live; ``candidate`` that of the next one.
    :raises HybridSearchError: as :func:`~hybrid_search.evaluation.evaluate.evaluate_side_by_side`.
    """
    both = evaluate_side_by_side(judged, live, candidate, EvaluateRequest(speed=False))
    of_live, of_next = (_by_default(evaluation) for evaluation in (both.one, both.other))
    values = {"live": both.one.values[of_live][PRIMARY], "next": both.other.values[of_next][PRIMARY]}
    found = compare(values, baseline="live")["next"]
    is_worse = found.difference < 0 and found.p_value < _SIGNIFICANT
    before = found.mean - found.difference
    other = f" with {of_live}" if of_live != of_next else ""
    told = (
        f"{PRIMARY} of {of_next} {found.mean:.4f}, {before:.4f} live{other}, {found.difference:+.4f}, "
        f"p {found.p_value:.4f}, {found.wins} queries better, {found.losses} worse"
    )
    return Check("quality against the live index", not is_worse, f"{told}; significantly worse" if is_worse else told)


def _by_default(evaluation: Evaluation) -> System:
    return "hybrid" if "hybrid" in evaluation.values else "bm25"
