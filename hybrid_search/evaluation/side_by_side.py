"""Two evaluations of the same queries side by side: two engines, or two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.evaluation.measures import PRIMARY
from hybrid_search.evaluation.protocol import Evaluation
from hybrid_search.evaluation.significance import Comparison, compare
from hybrid_search.types import Ranking

__all__ = [
    "QueryDifference",
    "SystemDifference",
    "as_json",
    "compare_side_by_side",
    "query_rows",
    "system_rows",
]

SHOWN = 10
_DEEP = 100


@dataclass(frozen=True, slots=True)
class QueryDifference:
    """A query for which two indexes return different rankings.

    :ivar shared: how many documents are in the first 10 of both.
    :ivar first_rank: first rank at which the rankings differ, from 1.
    :ivar value: nDCG@10 on the first index; ``other`` on the second; ``change`` is ``other`` less ``value``.
    """

    query_id: str
    shared: int
    first_rank: int
    value: float
    other: float
    change: float


@dataclass(frozen=True, slots=True)
class SystemDifference:
    """One system on two indexes.

    :ivar means: measure -> (mean on the first index, mean on the second).
    :ivar comparison: the second index against the first, in nDCG@10.
    :ivar queries: number of queries evaluated on both.
    :ivar identical: queries with the same ranking to the full depth; ``identical_at_10``: with the same first 10.
    :ivar overlap_at_10: mean share of the first 10 that both have in common; ``overlap_at_100`` likewise.
    :ivar differing: the queries whose rankings differ, the largest change of nDCG@10 first, then by query id.
    """

    means: Mapping[str, tuple[float, float]]
    comparison: Comparison
    queries: int
    identical: int
    identical_at_10: int
    overlap_at_10: float
    overlap_at_100: float
    differing: tuple[QueryDifference, ...]


def compare_side_by_side(one: Evaluation, other: Evaluation, *, seed: int = 0) -> dict[str, SystemDifference]:
    """Compare the systems that both evaluations have; both must have kept their runs.

    :param seed: of the resampling.
    """
    return {system: _of_system(one, other, system, seed) for system in one.runs if system in other.runs}


def _of_system(one: Evaluation, other: Evaluation, system: str, seed: int) -> SystemDifference:
    runs = one.runs[system], other.runs[system]
    values = one.values[system][PRIMARY], other.values[system][PRIMARY]
    both = [(query, runs[0][query], runs[1][query]) for query in sorted(runs[0])]
    differing = [_of_query(query, a, b, values[0][query], values[1][query]) for query, a, b in both if a.ids != b.ids]
    differing.sort(key=lambda difference: (-abs(difference.change), difference.query_id))
    return SystemDifference(
        means={name: (one.means[system][name], other.means[system][name]) for name in one.means[system]},
        comparison=compare({"one": values[0], "other": values[1]}, baseline="one", seed=seed)["other"],
        queries=len(both),
        identical=len(both) - len(differing),
        identical_at_10=sum(a.ids[:SHOWN] == b.ids[:SHOWN] for _, a, b in both),
        overlap_at_10=_mean_overlap([(a, b) for _, a, b in both], SHOWN),
        overlap_at_100=_mean_overlap([(a, b) for _, a, b in both], _DEEP),
        differing=tuple(differing),
    )


def _of_query(query: str, one: Ranking, other: Ranking, value: float, other_value: float) -> QueryDifference:
    together = zip(one.ids, other.ids, strict=False)
    parting = next((rank for rank, (a, b) in enumerate(together, start=1) if a != b), min(len(one), len(other)) + 1)
    shared = len(set(one.ids[:SHOWN]) & set(other.ids[:SHOWN]))
    return QueryDifference(query, shared, parting, value, other_value, other_value - value)


def _mean_overlap(pairs: list[tuple[Ranking, Ranking]], depth: int) -> float:
    shares = []
    for one, other in pairs:
        longest = max(len(one.ids[:depth]), len(other.ids[:depth]))
        shares.append(len(set(one.ids[:depth]) & set(other.ids[:depth])) / longest if longest else 1.0)
    return sum(shares) / len(shares)


def as_json(differences: Mapping[str, SystemDifference]) -> dict[str, Any]:
    """Return the comparison as JSON values: system -> its difference."""
    plain: dict[str, Any] = msgspec.to_builtins(differences)
    return plain


def system_rows(differences: Mapping[str, SystemDifference]) -> list[tuple[str, ...]]:
    """Return a table's cells: a header row, then a row per system."""
    header = (
        "system", f"{PRIMARY} from", "against", "difference [95 %]", "p", "queries", "same top 10", "same to the end",
        "overlap@10", "overlap@100",
    )  # fmt: skip
    return [header, *(_system_row(system, difference) for system, difference in differences.items())]


def _system_row(system: str, difference: SystemDifference) -> tuple[str, ...]:
    one, other = difference.means[PRIMARY]
    interval = difference.comparison.difference_interval
    within = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
    return (
        system,
        f"{one:.4f}",
        f"{other:.4f}",
        f"{other - one:+.4f}{within}",
        f"{difference.comparison.p_value:.4f}",
        f"{difference.queries:,}",
        f"{difference.identical_at_10:,}",
        f"{difference.identical:,}",
        f"{difference.overlap_at_10:.4f}",
        f"{difference.overlap_at_100:.4f}",
    )


def query_rows(differences: Mapping[str, SystemDifference]) -> list[tuple[str, ...]]:
    """Return a table's cells: a header row, then a row for each system's query that differs in its first 10."""
    rows: list[tuple[str, ...]] = [
        ("system", "query", "shared of 10", "first differs at", f"{PRIMARY} from", "against", "change")
    ]
    for system, difference in differences.items():
        rows += [
            (
                system,
                q.query_id,
                str(q.shared),
                str(q.first_rank),
                f"{q.value:.3f}",
                f"{q.other:.3f}",
                f"{q.change:+.3f}",
            )
            for q in difference.differing
            if q.first_rank <= SHOWN
        ]
    return rows
