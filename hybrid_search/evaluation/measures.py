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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hybrid_search.errors import MissingExtra, UsageError, shown
from hybrid_search.types import Judgement, Ranking, is_unicode

__all__ = [
    "MEASURES",
    "PRIMARY",
    "Measurer",
    "Qrels",
    "check_depth",
    "check_measures",
    "cutoff_of",
    "means",
    "measure",
    "measures_of_depth",
    "qrels_of",
]

MEASURES = ("nDCG@10", "RR@10", "AP", "P@10", "R@10", "R@100", "R@1000", "F1@10", "Success@10")
"""The names of all measures, in the order of a report."""

PRIMARY = "nDCG@10"
"""The measure that is tested for significance and by which parameters are chosen."""

_MOST = 1_000_000
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

    :raises UsageError: if ``min_grade`` is below 1: grade 0 means judged and not relevant; and if an id has a NUL or
        half a character, which pytrec_eval reads wrongly or ends the process at.
    """
    if min_grade < 1:
        raise UsageError(f"min_grade is {min_grade}; it must be at least 1 (grade 0 means not relevant)")
    grades: dict[str, dict[str, int]] = {}
    for judgement in judgements:
        for id in (judgement.query_id, judgement.document_id):
            if "\0" in id or not is_unicode(id):
                raise UsageError(f"the judgements have the id {shown(id)}, which is no text that can be measured with")
        of_query = grades.setdefault(judgement.query_id, {})
        of_query[judgement.document_id] = max(judgement.grade, of_query.get(judgement.document_id, judgement.grade))
    judged = {query: of_query for query, of_query in grades.items() if max(of_query.values()) >= min_grade}
    return Qrels(judged, min_grade, tuple(query for query in grades if query not in judged))


class Measurer:
    """Measures any number of systems with the same judgements, which are read once.

    :param names: of :data:`MEASURES`, or others that ir-measures computes: ``nDCG@5``, ``Success@1``, ``P(rel=2)@10``.
    :raises UsageError: on an unknown measure, or one that needs another program.
    :raises MissingExtra: if ir-measures is not installed.
    """

    def __init__(self, qrels: Qrels, *, names: Sequence[str] = MEASURES) -> None:
        self.names, self._qrels = tuple(names), qrels
        measured = dict.fromkeys(part for name in names for part in (_F1_PARTS if name == "F1@10" else (name,)))
        library = _ir_measures()
        self._named: dict[Any, list[str]] = {}
        for name in measured:  # AP and MAP are one measure
            self._named.setdefault(_parse(library, name, qrels.min_grade), []).append(name)
        with self._errors():
            self._evaluator = library.evaluator(list(self._named), qrels.grades)

    def __call__(self, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, float]]:
        """Measure one system; as :func:`measure`."""
        grades = self._qrels.grades
        values = {name: dict.fromkeys(grades, 0.0) for names in self._named.values() for name in names}
        for name, query, value in self._found(rankings):
            values[name][query] = value
        if "F1@10" in self.names:
            precision, recall = (values[part] for part in _F1_PARTS)
            values["F1@10"] = {query: _harmonic_mean(precision[query], recall[query]) for query in grades}
        return {name: values[name] for name in self.names}

    def _found(self, rankings: Mapping[str, Ranking]) -> Iterator[tuple[str, str, float]]:
        # Of F1@10 its parts.
        run = {query: _positions(rankings[query]) for query in rankings if query in self._qrels.grades}
        run = {query: ranking for query, ranking in run.items() if ranking}
        if run:
            alone = next(iter(self._named.values())) if len(self._named) == 1 else None
            with self._errors():
                found = list(self._evaluator.iter_calc(run))
            for value in found:
                if value.query_id in run:
                    # Looking up a measure writes out its name, which takes longer than measuring.
                    for name in alone or self._named[value.measure]:
                        yield name, value.query_id, value.value

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what ir-measures' providers raise, which are programs of others and may not be there, into an error."""
        try:
            yield
        except Exception as error:
            names = ", ".join(self.names)
            raise UsageError(
                f"{names}: not all of these can be measured here ({error or type(error).__name__})"
            ) from error


def measure(
    rankings: Mapping[str, Ranking], qrels: Qrels, *, names: Sequence[str] = MEASURES
) -> dict[str, dict[str, float]]:
    """Measure one system.

    :param rankings: query id -> ranking, best first. Queries without judgements are ignored.
    :param names: as of :class:`Measurer`.
    :return: measure -> query id -> value from 0 to 1, of every query of ``qrels``, in its order.
    :raises UsageError: as :class:`Measurer`.
    :raises MissingExtra: if ir-measures is not installed.
    """
    return Measurer(qrels, names=names)(rankings)


def check_measures(names: Sequence[str]) -> None:
    """Check that these are measures, before anything is ranked.

    :raises UsageError: as :class:`Measurer`.
    :raises MissingExtra: if ir-measures is not installed.
    """
    Measurer(Qrels({}, 1, ()), names=names)


def check_depth(names: Sequence[str], depth: int) -> None:
    """Check that rankings are as deep as the measures look; else they would be called what they are not.

    :raises UsageError: names the first measure that looks further. Those at 10 are always measured.
    """
    for name in names:
        if (cutoff := cutoff_of(name) or 0) > max(depth, 10):
            raise UsageError(f"{name} looks at {cutoff:,} documents, of which depth={depth} ranks fewer; raise depth")


def cutoff_of(name: str) -> int | None:
    """Return how many documents of a ranking a measure looks at; None for all of them."""
    digits = name.rpartition("@")[2]
    return int(digits) if "@" in name and digits.isdecimal() else None


def measures_of_depth(depth: int) -> tuple[str, ...]:
    """Return the names of the measures whose cutoff lies within rankings of ``depth`` documents.

    Measures at 10 are always included: in a shallower ranking, documents below its end count as not found.
    """
    return tuple(name for name in MEASURES if (cutoff_of(name) or 0) <= max(depth, 10))


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
    try:
        parsed = library.parse_measure(name)
        cutoff = parsed.params.get("cutoff", 1)
        parsed.validate_params()
    except (NameError, ValueError, SyntaxError, AssertionError, KeyError, TypeError) as error:
        raise UsageError(
            f"no measure is called {name!r}; there are {', '.join(MEASURES)}, and ir-measures' others, such as nDCG@5"
        ) from error
    for what, number in (("looks at", cutoff), ("takes grades from", parsed.params.get("rel", 1))):
        if not 1 <= number <= _MOST:  # at 0 pytrec_eval ends the process
            raise UsageError(f"measure {name!r} {what} {shown(number)}; it must be from 1 to {_MOST:,}")
    return parsed(rel=min_grade) if "rel" in parsed.SUPPORTED_PARAMS and "rel" not in parsed.params else parsed


def _positions(ranking: Ranking) -> dict[str, float]:
    return {id: -float(position) for position, id in enumerate(ranking.ids)}


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
