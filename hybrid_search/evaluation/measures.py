"""Retrieval measures by ir-measures (pytrec_eval), query by query.

Conventions, where tools differ:

- The order of a ranking is what counts, not its scores: pytrec_eval would sort equal scores by its own rule, so it is
  given the positions as scores.
- A judged query without hits scores 0 in every measure.
- A query without a relevant judgement scores 0 for every system, so it is left out and counted. (ir-measures itself
  would average it in as 0; trec_eval leaves out queries without hits, which favours systems that find nothing.)
- ``nDCG`` uses the grades as gains. All other measures are binary: relevant is a grade of at least ``min_grade``,
  1 by default; TREC's deep learning tracks use 2.
- F1@10, which ir-measures lacks, is each query's harmonic mean of P@10 and R@10, averaged like the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hybrid_search.errors import MissingExtra, UsageError
from hybrid_search.types import Judgement, Ranking

__all__ = ["MEASURES", "PRIMARY", "Qrels", "means", "measure", "measures_of_depth", "qrels_of"]

MEASURES = ("nDCG@10", "RR@10", "AP", "P@10", "R@10", "R@100", "R@1000", "F1@10", "Success@10")
"""The names of all measures, in the order of a report."""

PRIMARY = "nDCG@10"
"""The measure that is tested for significance and by which parameters are chosen."""

_GRADED = ("nDCG@10",)
_F1_PARTS = ("P@10", "R@10")


@dataclass(frozen=True, slots=True)
class Qrels:
    """Judgements by query, ready to measure with.

    :ivar grades: query id -> document id -> grade, of queries that have a relevant document.
    :ivar min_grade: the lowest grade that is relevant to a binary measure.
    :ivar left_out: ids of the judged queries that have no relevant document.
    """

    grades: Mapping[str, Mapping[str, int]]
    min_grade: int
    left_out: tuple[str, ...]


def qrels_of(judgements: Iterable[Judgement], *, min_grade: int = 1) -> Qrels:
    """Group judgements by query; of two judgements of one pair the higher grade counts.

    :raises UsageError: if ``min_grade`` is below 1: grade 0 means judged and not relevant.
    """
    if min_grade < 1:
        raise UsageError(f"min_grade is {min_grade}; it must be at least 1 (grade 0 means not relevant)")
    grades: dict[str, dict[str, int]] = {}
    for judgement in judgements:
        of_query = grades.setdefault(judgement.query_id, {})
        of_query[judgement.document_id] = max(judgement.grade, of_query.get(judgement.document_id, judgement.grade))
    judged = {query: of_query for query, of_query in grades.items() if max(of_query.values()) >= min_grade}
    return Qrels(judged, min_grade, tuple(query for query in grades if query not in judged))


def measure(
    rankings: Mapping[str, Ranking], qrels: Qrels, *, names: Sequence[str] = MEASURES
) -> dict[str, dict[str, float]]:
    """Measure one system.

    :param rankings: query id -> ranking, best first. Queries without judgements are ignored.
    :param names: which of :data:`MEASURES`.
    :return: measure -> query id -> value from 0 to 1, of every query of ``qrels``, in its order.
    :raises UsageError: on an unknown measure.
    :raises MissingExtra: if ir-measures is not installed.
    """
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        raise UsageError(f"no measure is called {unknown[0]!r}; there are {', '.join(MEASURES)}")
    measured = dict.fromkeys(part for name in names for part in (_F1_PARTS if name == "F1@10" else (name,)))
    values = {name: dict.fromkeys(qrels.grades, 0.0) for name in measured}
    library = _ir_measures()
    parsed = {_parse(library, name, qrels.min_grade): name for name in measured}
    run = {query: _positions(rankings[query]) for query in qrels.grades if rankings.get(query)}
    if run:
        for value in library.iter_calc(list(parsed), qrels.grades, run):
            values[parsed[value.measure]][value.query_id] = value.value
    if "F1@10" in names:
        precision, recall = (values[part] for part in _F1_PARTS)
        values["F1@10"] = {query: _harmonic_mean(precision[query], recall[query]) for query in qrels.grades}
    return {name: values[name] for name in names}


def measures_of_depth(depth: int) -> tuple[str, ...]:
    """Return the names of the measures whose cutoff lies within rankings of ``depth`` documents.

    Measures at 10 are always included: in a shallower ranking, documents below its end count as not found.
    """
    cutoffs = {name: int(name.partition("@")[2] or 0) for name in MEASURES}
    return tuple(name for name, cutoff in cutoffs.items() if cutoff <= max(depth, 10))


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Average each measure over its queries; 0 when there are none."""
    return {name: sum(by_query.values()) / max(len(by_query), 1) for name, by_query in values.items()}


def _ir_measures() -> ModuleType:
    try:
        import ir_measures
    except ModuleNotFoundError as error:
        raise MissingExtra("ir-measures", "train") from error
    module: ModuleType = ir_measures
    return module


def _parse(library: ModuleType, name: str, min_grade: int) -> Any:
    parsed = library.parse_measure(name)
    return parsed if name in _GRADED else parsed(rel=min_grade)


def _positions(ranking: Ranking) -> dict[str, float]:
    return {id: -float(position) for position, id in enumerate(ranking.ids)}


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
