"""``hybrid-search evaluate``: every system side by side on judged queries."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hybrid_search.cli.options import (
    bm25_of,
    bm25_options,
    dataset_argument,
    format_option,
    from_option,
    measures_of,
    model_option,
    opened_dataset,
    rerank_depth_of,
    rerank_options,
    reranker_of,
)
from hybrid_search.cli.output import print_json, print_jsonl, print_table, progress, say
from hybrid_search.cli.server_options import in_cluster_option
from hybrid_search.errors import UsageError

if TYPE_CHECKING:
    from hybrid_search.evaluation.evaluate import EvaluateRequest, EvaluateResult
    from hybrid_search.evaluation.protocol import EvaluationCounts
    from hybrid_search.evaluation.result_index import EvaluationStore
    from hybrid_search.evaluation.wins_and_losses import WinsAndLosses
    from hybrid_search.protocols import Dataset

__all__ = ["command", "print_evaluation"]


@click.command("evaluate")
@dataset_argument
@from_option
@model_option
@click.option("--split", default="", help="Whose queries.  [default: test, else dev, else validation]")
@click.option(
    "--judgements", "judgement_set", default="", metavar="NAME", help="The judgement set, where there are several."
)
@click.option(
    "--systems",
    metavar="LIST",
    help="Some of random,bm25,untrained,knn,hybrid,reranked; BM25 is always among them.  [default: all]",
)
@click.option(
    "--depth", default=1_000, show_default=True, help="Documents ranked for a query; R@1000 is left out below 1000."
)
@click.option(
    "--measures",
    default="",
    metavar="LIST",
    callback=measures_of,
    help="More measures, by their names in ir-measures: nDCG@5,Success@5,Rprec …; AnswerHit@5 …: the answer in words.",
)
@click.option(
    "--min-grade",
    default=1,
    show_default=True,
    help="Lowest grade that is relevant in binary measures; TREC's deep learning tracks use 2.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random system and of the resampling.")
@click.option(
    "--run-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the hybrid's TREC run here, the other systems' beside it (run.trec: run.bm25.trec and so on). White "
    "space and % in ids are written as in a URL, %20.",
)
@click.option(
    "--keep-identical",
    is_flag=True,
    help="Where queries are documents themselves, keep each in its own ranking; BEIR, and this, leave it out.",
)
@click.option("--speed/--no-speed", default=True, show_default=True, help="Measure latency and rates too.")
@click.option(
    "--changes",
    "examples",
    default=3,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=0),
    help="Show the N queries on which the hybrid gains and loses most against BM25, with an answer's rank in each leg.",
)
@click.option(
    "--against",
    metavar="LOCATION",
    help="Another index, of another engine or model: show both side by side, and each query that they answer "
    "differently. It is searched with the towers that it carries.",
)
@click.option(
    "--store",
    is_flag=True,
    help="Keep the results in the server's index NAME-evaluations too, where Dashboards shows them over time.",
)
@rerank_options
@click.option(
    "--diversity",
    type=click.FloatRange(0, 1),
    help="Choose hits that differ from those before them, after --rerank or without: the system reranked.",
)
@in_cluster_option
@bm25_options
@format_option
def command(
    dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, location: str, form: str, **given: Any
) -> None:
    """Measure an index on a data set's judged queries, over the whole corpus, with BM25 beside every other system.

    --bm25-k1 and --bm25-b change the bm25 row only; the hybrid keeps the index's.

    \b
    Examples:
      hybrid-search evaluate beir --path ./nfcorpus --from ./index --split test
      hybrid-search evaluate beir --path ./nfcorpus --from ./index --rerank cross-encoder/ms-marco-MiniLM-L6-v2
      hybrid-search evaluate beir --path ./nfcorpus --from ./index --against opensearch://localhost:9200/nfcorpus
    """  # noqa: D301
    from hybrid_search.evaluation.evaluate import evaluate_index, write_runs
    from hybrid_search.evaluation.report import as_json, compare_with_bm25
    from hybrid_search.evaluation.wins_and_losses import as_json as as_counts

    allow, against, store = given.pop("allow_rejected"), given.pop("against"), given.pop("store")
    if store and given["measures"]:
        raise UsageError("--store keeps the usual measures alone; leave it or --measures out")
    if store and against is not None:
        raise UsageError("--store keeps the results of one index; leave it or --against out")
    request = _request(given)
    reading = opened_dataset(dataset, path, dataset_config, dead_letter, allow)
    with reading as (opened, _), _store(location, store) as kept:
        if against is not None:
            _side_by_side(opened, location, against, request, form)
            return
        result = evaluate_index(opened, location, request, progress=progress)
        if form == "table":
            print_evaluation(result, seed=request.settings.seed)
        else:
            comparisons = compare_with_bm25(result.evaluation, seed=request.settings.seed)
            report = {"split": result.split} | as_json(result.evaluation, comparisons, speed=result.speed)
            report["against_bm25"] = as_counts(result.against_bm25) if result.against_bm25 else None
            report["trained_on"] = result.trained_on
            (print_json if form == "json" else _print_line)(report)
            _say_what_to_know(result.evaluation.counts, result.trained_on)
        if request.run_out is not None:
            for file, encoded in write_runs(request.run_out, result.evaluation).items():
                of_blanks = f"; {encoded:,} ids hold white space or %, written as in a URL (%20)" if encoded else ""
                say(f"wrote {file}{of_blanks}")
        if kept is not None:
            count = kept.store(result, opened.name, request.judgement_set, seed=request.settings.seed)
            say(f"stored {count} systems in {kept.name}")


def _store(location: str, wanted: bool) -> AbstractContextManager[EvaluationStore | None]:
    if not wanted:
        return nullcontext()
    from hybrid_search.evaluation.result_index import evaluation_store

    return evaluation_store(location)


def _side_by_side(dataset: Dataset, location: str, against: str, request: EvaluateRequest, form: str) -> None:
    from hybrid_search.evaluation.evaluate import evaluate_side_by_side
    from hybrid_search.evaluation.side_by_side import as_json, query_rows, system_rows

    if request.run_out is not None:
        raise UsageError("--run-out and --against: evaluate each index alone to write its runs")
    if request.second is not None:
        raise UsageError("--against compares indexes as they are; leave --rerank and --diversity out, or use compare")
    result = evaluate_side_by_side(dataset, location, against, request, progress=progress)
    _say_if_nothing_can_be_found(result.one.counts)
    if form != "table":
        counts = {"from": asdict(result.one.counts), "against": asdict(result.other.counts)}
        report = {"split": result.split, "from": location, "against": against, "counts": counts}
        report["trained_on"] = dict(zip(counts, result.trained_on, strict=True))
        (print_json if form == "json" else _print_line)(report | {"systems": as_json(result.differences)})
        _say_what_to_know(result.one.counts, max(result.trained_on))
        return
    _print_rows(system_rows(result.differences), f"{location} (from) and {against} (against), split {result.split}")
    rows = query_rows(result.differences)
    if len(rows) > 1:
        _print_rows(rows, "Queries whose first 10 differ, the largest change first")
    else:
        say("No query's first 10 differ.")
    _say_what_to_know(result.one.counts, max(result.trained_on))


def _request(given: dict[str, Any]) -> Any:
    from hybrid_search.evaluation.evaluate import EvaluateRequest
    from hybrid_search.evaluation.protocol import EvaluationSettings
    from hybrid_search.second_stage import SecondStage

    systems = _systems(given.pop("systems"))
    settings = EvaluationSettings.from_mapping(
        {
            "systems": systems,
            "bm25": bm25_of(given.pop("bm25_k1"), given.pop("bm25_b")),
            "keep_runs": given["run_out"] is not None,
            **{name: given.pop(name) for name in ("depth", "measures", "min_grade", "seed", "keep_identical")},
        },
        source="options",
    )
    model, depth, diversity = (given.pop(name) for name in ("rerank", "rerank_depth", "diversity"))
    second, depth = None, rerank_depth_of(depth, reranks=bool(model) or diversity is not None)
    if model or diversity is not None:
        second = SecondStage.of(depth, reranker_of(model), depth, diversity)
    return EvaluateRequest(settings=settings, second=second, **given)


def _systems(text: str | None) -> list[str] | None:
    """Parse a list of systems' names."""
    from hybrid_search.evaluation.protocol import SYSTEMS

    names = [name.strip() for name in text.split(",")] if text else None
    if unknown := sorted(set(names or ()) - set(SYSTEMS)):
        raise click.BadParameter(
            f"there is no system {unknown[0]!r}; there are {', '.join(SYSTEMS)}", param_hint="--systems"
        )
    return names


def _print_line(report: dict[str, Any]) -> None:
    print_jsonl([report])


def print_evaluation(result: EvaluateResult, *, seed: int = 0) -> None:
    """Print an evaluation as tables: measures, significance, speed, wins and losses."""
    from hybrid_search.evaluation.report import compare_with_bm25, measure_rows, significance_rows

    evaluation, counts = result.evaluation, result.evaluation.counts
    _say_if_nothing_can_be_found(counts)
    title = f"{counts.queries:,} queries of split {result.split}, {counts.documents:,} documents"
    _print_rows(measure_rows(evaluation.means), title)
    _print_rows(
        significance_rows(compare_with_bm25(evaluation, seed=seed)),
        "Paired permutation test against BM25, 95 % bootstrap intervals",
    )
    if result.speed is not None:
        _print_speed(result)
    if result.against_bm25 is not None:
        _print_wins_and_losses(result.against_bm25)
    _say_what_to_know(counts, result.trained_on)


def _say_if_nothing_can_be_found(counts: EvaluationCounts) -> None:
    if counts.relevant_missing == counts.relevant > 0:
        say(
            f"None of the {counts.relevant:,} relevant documents is in the index, so every figure is 0: is this the "
            "index of this data set, and has it the same ids?"
        )


def _say_what_to_know(counts: EvaluationCounts, trained_on: float) -> None:
    if trained_on:
        say(
            f"The model was trained on these queries ({trained_on:.0%} of a sample of its training queries are "
            "among them): what knn and hybrid remember says nothing of other queries. Measure on another --split."
        )
    if counts.identical:
        say(
            f"{counts.identical:,} queries are documents of the index themselves, and each is left out of its own "
            "ranking, as BEIR does; --keep-identical keeps them."
        )
    if counts.without_text:
        say(
            f"{counts.without_text:,} judged queries have no text among the queries of the split, so they are left out."
        )
    if 0 < counts.relevant_missing < counts.relevant:
        say(
            f"{counts.relevant_missing:,} of {counts.relevant:,} relevant documents are not in the index; "
            "no system can find them."
        )


def _print_wins_and_losses(found: WinsAndLosses) -> None:
    from hybrid_search.evaluation.wins_and_losses import example_rows

    rows = example_rows(found)
    if len(rows) > 1:
        counts = (
            f"{found.wins:,} wins, {found.ties:,} ties, {found.losses:,} losses of the hybrid against BM25 by nDCG@10"
        )
        title = f"{counts}. The largest, with the ranks of the answer that moved most:"
        print_table(rows[0], rows[1:], title=title, right=rows[0][2:-1])


def _print_speed(result: EvaluateResult) -> None:
    if result.speed is None:
        return
    rows: list[tuple[str, ...]] = [("mode", "p50 ms", "p95 ms", "p99 ms", "queries/s in batches")]
    for mode, of_mode in result.speed.latency.items():
        values = (of_mode.p50, of_mode.p95, of_mode.p99)
        rows.append((mode, *(f"{value:.2f}" for value in values), f"{of_mode.queries_per_second:,.0f}"))
    _print_rows(rows, "Speed, one query at a time, 10 hits with texts")
    if result.speed.documents_encoded_per_second:
        say(
            f"encoding: {result.speed.documents_encoded_per_second:,.0f} documents/s, "
            f"{result.speed.queries_encoded_per_second or 0:,.0f} queries/s"
        )


def _print_rows(rows: list[tuple[str, ...]], title: str) -> None:
    print_table(rows[0], rows[1:], title=title, right=rows[0][1:])
