"""``hybrid-search compare``: any number of indexes, settings and run files in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hybrid_search.cli.options import dataset_argument, format_option, measures_of, opened_dataset
from hybrid_search.cli.output import print_json, print_jsonl, print_table, progress, say

if TYPE_CHECKING:
    from hybrid_search.evaluation.compare import Compared, Row

__all__ = ["command"]


@click.command("compare")
@dataset_argument
@click.argument("systems", metavar="SYSTEM...", nargs=-1, required=True)
@click.option("--split", default="", help="Whose queries.  [default: test, else dev, else validation]")
@click.option(
    "--judgements", "judgement_set", default="", metavar="NAME", help="The judgement set, where there are several."
)
@click.option(
    "--measures",
    default="nDCG@10,RR@10,R@100",
    show_default=True,
    metavar="LIST",
    callback=measures_of,
    help="By their names in ir-measures; the first one is tested for significance.",
)
@click.option("--baseline", default="", metavar="NAME", help="What the others are compared with.  [default: the first]")
@click.option("--min-grade", default=1, show_default=True, help="Lowest grade that is relevant in binary measures.")
@click.option("--depth", default=1_000, show_default=True, help="Documents ranked for a query.")
@click.option("--speed/--no-speed", default=True, show_default=True, help="Measure latency too.")
@click.option(
    "--keep-identical",
    is_flag=True,
    help="Where queries are documents themselves, keep each in its own ranking; BEIR, and this, leave it out.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")
@format_option
def command(
    dataset: str,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    systems: tuple[str, ...],
    form: str,
    **given: Any,
) -> None:
    """Measure indexes, settings and the TREC run files of others on a data set's judged queries.

    A SYSTEM is [NAME=]LOCATION or [NAME=]RUNFILE. Settings of an index follow a question mark, joined by &: mode,
    model, method, combination, window, rank_constant (as query --fusion and so on), bm25_weight; rerank (a
    cross-encoder's folder or name), rerank_depth, diversity. A run needs no index.
    A star marks what no other beats in quality, median latency and size together (the Pareto front).

    \b
    Examples:
      hybrid-search compare beir --path ./nfcorpus ./index "bm25=./index?mode=bm25" theirs=./colbert.trec
      hybrid-search compare beir --path ./nfcorpus ./index "reranked=./index?rerank=./cross-encoder&rerank_depth=30"
      hybrid-search compare beir --path ./nfcorpus "w200=./index" "rrf=./index?method=rrf&bm25_weight=0.7"
    """  # noqa: D301
    from hybrid_search.evaluation.compare import CompareRequest, Contender, compare_systems

    contenders = [Contender.parse(text) for text in systems]
    request = CompareRequest(measures=given.pop("measures"), **{name: given.pop(name) for name in _REQUEST})
    with opened_dataset(dataset, path, dataset_config, dead_letter, given.pop("allow_rejected")) as (opened, _):
        result = compare_systems(opened, contenders, request, progress=progress)
        if form == "table":
            _print_table(result)
        else:
            values = msgspec.to_builtins(result)
            print_json(values) if form == "json" else print_jsonl(values["rows"])
    if result.identical:
        say(
            f"{result.identical:,} queries are documents themselves, and each is left out of its own ranking, as BEIR "
            "does; --keep-identical keeps them."
        )
    for row in result.rows:
        if row.missing:
            say(f"{row.name}: {row.missing:,} of {result.queries:,} judged queries are not in the run and count as 0.")
        if row.trained_on:
            say(
                f"{row.name}: the towers were trained on these queries ({row.trained_on:.0%} of a sample of theirs are "
                "among them), so its figures say nothing of other queries."
            )


_REQUEST = ("split", "judgement_set", "baseline", "min_grade", "depth", "speed", "seed", "keep_identical")


def _print_table(result: Compared) -> None:
    first, *others = result.measures
    header = (
        "", "system", f"{first} [95 %]", *others, f"against {result.baseline} [95 %]", "p (Holm)", "p50 ms", "p95",
        "p99", "queries/s", "MB", "RAM MB", "encoded/s", "trained",
    )  # fmt: skip
    title = f"{result.queries:,} queries of split {result.split}; * none is better in {first}, p50 and size together"
    rows = [_cells(row, result) for row in result.rows]
    used = [place for place in range(len(header)) if place < 2 or any(row[place] for row in rows)]
    header, *rows = (tuple(row[place] for place in used) for row in (header, *rows))
    print_table(header, rows, title=title, right=[name for name in header if name not in ("", "system")])


def _cells(row: Row, result: Compared) -> tuple[str, ...]:
    from hybrid_search.evaluation.report import with_interval

    one, latency = row.comparison, row.latency
    against = ("", "")
    if row.name != result.baseline:
        against = with_interval(one.difference, one.difference_interval, "+"), f"{max(one.p_holm, 0.0001):.4f}"
    speed: tuple[str, ...] = ("", "", "", "")
    if latency is not None:
        times = (f"{value:.2f}" for value in (latency.p50, latency.p95, latency.p99))
        speed = (*times, f"{latency.queries_per_second:,.0f}")
    return (
        "*" if row.is_optimal else "", row.name, with_interval(one.mean, one.interval, ""),
        *(f"{row.means[name]:.3f}" for name in result.measures[1:]), *against, *speed,
        *("" if bytes is None else f"{bytes / 1e6:,.1f}" for bytes in (row.bytes, row.memory)),
        "" if row.encoded is None else f"{row.encoded:,.0f}", "" if row.training is None else _duration(row.training),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:,.0f} min"
