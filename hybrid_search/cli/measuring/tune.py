"""``hybrid-search tune`` and ``refit``: choose how an index fuses its legs, on judged queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from hybrid_search.cli.options import dataset_argument, format_option, model_option, opened_dataset
from hybrid_search.cli.output import facts, print_json, print_jsonl, print_table, progress, say

if TYPE_CHECKING:
    from hybrid_search.settings.index import Fusion
    from hybrid_search.training.fit.tune import TuneReport

__all__ = ["command", "refit_command"]

F = TypeVar("F", bound=Callable[..., Any])


def _shared_options(function: F) -> F:
    decorators = [
        click.argument("location", metavar="LOCATION"),
        dataset_argument,
        model_option,
        click.option("--split", default="", help="Whose queries choose.  [default: dev, else validation, else all]"),
        click.option(
            "--judgements",
            "judgement_set",
            default="",
            metavar="NAME",
            help="The judgement set, where there are several.",
        ),
        click.option("--min-grade", default=1, show_default=True, help="Lowest grade that is relevant."),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@click.command("tune")
@_shared_options
@click.option(
    "--check-on",
    default="",
    metavar="SPLIT",
    help="Whose queries tell what the choice is worth.  [default: test, else halves of the queries that choose]",
)
@click.option(
    "--measure",
    default="nDCG@10",
    show_default=True,
    help="What to choose by, by its name in ir-measures: nDCG@5, RR@10, R@100, Success@1 …",
)
@click.option(
    "--deploy", is_flag=True, help="Write the choice into the index; on a server into its search pipeline too."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")
@format_option
def command(
    location: str, dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, form: str, **given: Any
) -> None:
    """Choose technique, weights, window and RRF constant of an index's fusion; in a folder BM25's k1 and b too.

    Each leg is searched once, then more than a thousand settings are measured. The choice, which may be not to fuse, is
    compared with the present settings and with each leg alone on queries that chose nothing.

    \b
    Examples:
      hybrid-search tune ./index beir --path ./nfcorpus --split dev
      hybrid-search tune opensearch://localhost:9200/nfcorpus beir --path ./nfcorpus --split dev --deploy
    """  # noqa: D301
    from hybrid_search.training.fit.tune import TuneRequest, tune

    with opened_dataset(dataset, path, dataset_config, dead_letter, given.pop("allow_rejected")) as (opened, _):
        report = tune(location, opened, TuneRequest(**given), progress=progress)
        if form == "table":
            _print_report(report)
        else:
            values = msgspec.to_builtins(report)
            print_json(values) if form == "json" else print_jsonl([values])
        _say_if_trained_on(report)
        if report.shared:
            one = report.shared == 1
            say(
                f"{report.shared:,} {'query' if one else 'queries'} of split {report.checked_on} "
                f"{'is also asked' if one else 'are also asked'} in split {report.split}, which chose; "
                f"{'it is' if one else 'they are'} left out of the check."
            )
        say(_verdict(report, deploy=given["deploy"]))


def _print_report(report: TuneReport) -> None:
    header = ("technique", "BM25", "k-NN", "window", report.measure)
    rows = [
        (_technique(one.fusion), *(f"{weight:.2f}" for weight in one.fusion.weights), f"{one.fusion.window:,}",
         f"{one.mean:.4f}")
        for one in report.techniques
    ]  # fmt: skip
    whose = f"{report.queries:,} queries of split {report.split}"
    title = f"{report.settings:,} settings on {whose}; the best of each technique"
    print_table(header, rows, title=title, right=header[1:])
    from hybrid_search.evaluation.report import with_interval

    checked = [("", f"{report.measure} [95 %]", "difference to before [95 %]", "p (Holm)", "wins/losses/ties")]
    for system, one in report.checked.items():
        cells = ("", "", "")
        if system != "before":
            cells = (
                with_interval(one.difference, one.difference_interval, "+"), f"{max(one.p_holm, 0.0001):.4f}",
                f"{one.wins}/{one.losses}/{one.ties}",
            )  # fmt: skip
        checked.append((_SYSTEMS[system], with_interval(one.mean, one.interval, ""), *cells))
    whose = f"split {report.checked_on}" if report.checked_on else f"halves of split {report.split}"
    print_table(checked[0], checked[1:], title=f"{report.held_out:,} queries of {whose}", right=checked[0][1:])


_SYSTEMS = {"before": "the index as it is", "bm25": "BM25 alone", "knn": "k-NN alone", "after": "the choice"}


def _technique(fusion: Fusion) -> str:
    return f"rrf {fusion.rank_constant}" if fusion.method == "rrf" else f"{fusion.method}, {fusion.combination}"


def _verdict(report: TuneReport, *, deploy: bool = False) -> str:
    after, bm25 = report.after, report.bm25_after
    answer = f"{_technique(after)}, {_weights(after)}, window {after.window}"
    alone = {"bm25 alone": "BM25 alone", "knn alone": "k-NN alone"}.get(report.answer, "")
    if report.is_kept:
        return _stays(report, f"The settings stay as they are: {_technique(report.before)},", alone or answer)
    answer = f"Do not fuse: {alone}" if alone else answer
    if bm25 != report.bm25_before:
        answer += f", k1 {bm25.k1:g}, b {bm25.b:g}"
    if (after, bm25) == (report.before, report.bm25_before):
        return f"The settings stay as they are: {answer}."
    return _change(report, answer) + ("" if deploy else " To write it: the same command with --deploy.")


def _weights(fusion: Fusion) -> str:
    return f"BM25 {fusion.weights[0]:.2f}, k-NN {fusion.weights[1]:.2f}"


def _change(report: TuneReport, answer: str) -> str:
    return f"{'Written' if report.is_written else 'Not written'}: {answer}. {_worth(report)}."


def _stays(report: TuneReport, stays: str, chosen: str) -> str:
    """Say that the settings before stay, and what was chosen and did not hold."""
    looked = f"What looked best on split {report.split}, {chosen}, did not hold"
    return f"{stays} {_weights(report.before)}. {looked}: {_worth(report)}."


def _worth(report: TuneReport) -> str:
    change = report.checked["after"]
    worth = "more than chance" if report.is_significant else "not more than chance explains"
    if report.is_significant and change.difference < 0:
        worth = "worse than before"
    return (
        f"{change.difference:+.4f} {report.measure} on held-out queries, p {max(change.p_value, 0.0001):.4f}: {worth}"
    )


def _say_if_trained_on(report: TuneReport) -> None:
    if report.trained_on:
        say(
            f"The towers were trained on these queries ({report.trained_on:.0%} of a sample of their training "
            "queries are among them) and rank them better than others: the weight of k-NN is too high. Fit on "
            "another --split."
        )


@click.command("refit")
@_shared_options
@click.option("--dry-run", is_flag=True, help="Show what would be written, and leave the index as it is.")
@format_option
def refit_command(
    location: str, dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, form: str, **given: Any
) -> None:
    """Fit the weights of BM25 and k-NN of an index again, from judged queries, and write them into it.

    Nothing is trained and no document is encoded; technique and window stay (tune chooses these too). The measure is
    nDCG@10. Whether the change is more than chance is judged on queries held out of the fit: each half is ranked with
    the weights that the other half chooses. Weights that switch a leg off are written only if they are better by
    more than chance.

    \b
    Example:
      hybrid-search refit ./index jsonl --path ./my-data --split dev
    """  # noqa: D301
    from hybrid_search.training.fit.tune import TuneRequest, tune

    allow, dry_run = given.pop("allow_rejected"), given.pop("dry_run")
    with opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, _):
        report = tune(location, opened, TuneRequest(weights_only=True, deploy=not dry_run, **given))
        facts(_of_refit(report), form)
        _say_if_trained_on(report)
        say(_verdict_of_refit(report))


def _verdict_of_refit(report: TuneReport) -> str:
    weights = _weights(report.after)
    if report.after == report.before:
        return f"The weights stay as they are: {weights}."
    off = {"bm25 alone": "k-NN is off, BM25 alone searches", "knn alone": "BM25 is off, k-NN alone searches"}
    if report.is_kept:
        return _stays(report, "The weights stay as they are:", weights)
    return _change(report, f"{weights}: {off[report.answer]}" if report.answer in off else weights)


def _of_refit(report: TuneReport) -> dict[str, Any]:
    """Return the values by name: of the split's queries, then ``held_out`` of the same, by the other half's weights."""
    chosen, before = report.checked["after"], report.checked["before"]
    return {
        "location": report.location,
        "split": report.split,
        "queries": report.queries,
        "weights_before": report.before.weights,
        "weights_chosen": report.after.weights,
        "weights_after": (report.before if report.is_kept else report.after).weights,
        "measure": report.measure,
        **{{"after": "chosen"}.get(system, system): value for system, value in report.tuning.items()},
        "held_out_before": before.mean,
        "held_out_chosen": chosen.mean,
        "p_value": chosen.p_value,
        "is_significant": report.is_significant,
        "is_written": report.is_written,
        "trained_on": report.trained_on,
    }
