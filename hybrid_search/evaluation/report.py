"""An evaluation as JSON, as table rows and as TREC run files."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.latency import Speed
from hybrid_search.evaluation.measures import PRIMARY
from hybrid_search.evaluation.protocol import Evaluation
from hybrid_search.evaluation.significance import Comparison, compare
from hybrid_search.storage import atomic_write_bytes
from hybrid_search.types import Ranking

__all__ = [
    "as_json",
    "compare_with_bm25",
    "measure_rows",
    "read_run",
    "significance_rows",
    "with_interval",
    "write_run",
]


_BASELINE = "bm25"

_LATENCIES = ("p50", "p95", "p99")


def compare_with_bm25(evaluation: Evaluation, *, seed: int = 0) -> dict[str, Comparison]:
    """Compare every system with BM25 in nDCG@10. Testing one measure alone needs no correction for several.

    :param seed: of the resampling.
    """
    return compare(_primary(evaluation), baseline=_BASELINE, seed=seed)


def as_json(
    evaluation: Evaluation, comparisons: Mapping[str, Comparison], *, speed: Speed | None = None
) -> dict[str, Any]:
    """Return the whole evaluation as JSON values.

    ``systems``: system -> measure -> mean. ``significance``: the measure tested, the baseline, and per system its
    comparison. ``latency_ms``: mode -> percentile -> ms, empty without ``speed``. ``rates``: per second. ``counts``:
    see :class:`~hybrid_search.evaluation.protocol.EvaluationCounts`.

    :param comparisons: of :func:`compare_with_bm25`.
    """
    latency = {} if speed is None else speed.latency
    return {
        "systems": evaluation.means,
        "significance": {
            "measure": PRIMARY,
            "baseline": _BASELINE,
            "systems": {system: asdict(comparison) for system, comparison in comparisons.items()},
        },
        "latency_ms": {
            mode: {name: getattr(of_mode, name) for name in _LATENCIES} for mode, of_mode in latency.items()
        },
        "rates": {} if speed is None else _rates(speed),
        "counts": asdict(evaluation.counts),
    }


def measure_rows(means: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """Return a table's cells: a header row, then a row per system, values to three decimals."""
    names = tuple(next(iter(means.values()), {}))
    rows = [(system, *(f"{values[name]:.3f}" for name in names)) for system, values in means.items()]
    return [("system", *names), *rows]


def significance_rows(comparisons: Mapping[str, Comparison]) -> list[tuple[str, ...]]:
    """Return a table's cells: a header row, then per system its mean and its difference to BM25, each with interval."""
    header = ("system", f"{PRIMARY} [95 %]", "difference to BM25 [95 %]", "p (Holm)", "wins/losses/ties")
    return [header, *(_significance_row(system, c) for system, c in comparisons.items())]


def _primary(evaluation: Evaluation) -> dict[str, Mapping[str, float]]:
    return {system: values[PRIMARY] for system, values in evaluation.values.items()}


def _rates(speed: Speed) -> dict[str, float | None]:
    searched = {f"{mode}_queries": of_mode.queries_per_second for mode, of_mode in speed.latency.items()}
    return {
        **searched,
        "queries_encoded": speed.queries_encoded_per_second,
        "documents_encoded": speed.documents_encoded_per_second,
    }


def _significance_row(system: str, comparison: Comparison) -> tuple[str, ...]:
    if system == _BASELINE:
        return system, with_interval(comparison.mean, comparison.interval, ""), "", "", ""
    return (
        system,
        with_interval(comparison.mean, comparison.interval, ""),
        with_interval(comparison.difference, comparison.difference_interval, "+"),
        f"{comparison.p_holm:.4f}",
        f"{comparison.wins}/{comparison.losses}/{comparison.ties}",
    )


def with_interval(value: float, interval: Sequence[float] | None, sign: str) -> str:
    """Write a value to three decimals with its interval, if it has one; the sign ``+`` is for differences."""
    shown = f"{value:{sign}.3f}"
    return shown if interval is None else f"{shown} [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


_PARTS = re.compile(r"[\s%]")
_RUN_COLUMNS = 6


def write_run(path: Path, rankings: Mapping[str, Ranking], *, tag: str) -> int:
    """Write ``query Q0 document rank score tag`` lines, queries in the order given, ranks from 1.

    Scores are written in full precision. trec_eval sorts equal scores by its own rule, not by the rank column. As white
    space separates the columns, white space and per cent signs in ids are percent-encoded (``%20``);
    ``urllib.parse.unquote`` decodes them.

    :param tag: name of the system; one word.
    :return: how many different ids were percent-encoded.
    :raises UsageError: if the tag is empty or holds white space.
    :raises StorageError: if the file can't be written; an old one is then unchanged.
    """
    if tag.split() != [tag]:
        raise UsageError(f"tag is {tag!r}; it must be one word")
    lines = [
        f"{_column(query)} Q0 {_column(id)} {rank} {score!r} {tag}\n"
        for query, ranking in rankings.items()
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=1)
    ]
    atomic_write_bytes(path, "".join(lines).encode("utf-8", "surrogatepass"))
    ids = {*rankings, *(id for ranking in rankings.values() for id in ranking.ids)}
    return sum(_column(id) != id for id in ids)


def _column(id: str) -> str:
    return _PARTS.sub(lambda found: quote(found[0]), id)


def read_run(path: Path, known: Container[str] = ()) -> dict[str, Ranking]:
    """Read a TREC run file: lines of query, Q0, document, rank, score and tag; ranked by score, then by rank.

    :param known: ids that are in the judgements; another id is percent-decoded, as :func:`write_run` encodes them.
    :raises DataError: naming the line, if it does not have six columns or a document twice, or its score or rank is no
        number.
    """

    def id_of(column: str) -> str:
        return column if column in known else unquote(column)

    lines: dict[str, dict[str, tuple[float, float]]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read as a run file ({error})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not (columns := line.split()):
            continue
        if len(columns) != _RUN_COLUMNS:
            raise DataError(
                f"{path}, line {number}: {len(columns)} columns; a run has query Q0 document rank score tag"
            )
        query, document = id_of(columns[0]), id_of(columns[2])
        try:
            place = -float(columns[4]), float(columns[3])
        except ValueError:
            place = math.nan, math.nan
        if math.isnan(sum(place)):
            raise DataError(f"{path}, line {number}: rank {columns[3]} and score {columns[4]} must be numbers")
        of_query = lines.setdefault(query, {})
        if document in of_query:
            raise DataError(f"{path}, line {number}: query {query} has the document {document} twice")
        of_query[document] = place
    return {query: _ranked(of_query) for query, of_query in lines.items()}


def _ranked(places: Mapping[str, tuple[float, float]]) -> Ranking:
    ids = sorted(places, key=places.__getitem__)
    return Ranking(tuple(ids), tuple(-places[id][0] for id in ids))
