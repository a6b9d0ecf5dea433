"""``hybrid-search refit``: fit an index's fusion weights again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hybrid_search.cli.options import dataset_argument, format_option, model_option, opened_dataset
from hybrid_search.cli.output import facts, say

if TYPE_CHECKING:
    from loaders.allowance import Allowance

__all__ = ["command"]


@click.command("refit")
@click.argument("location", metavar="LOCATION")
@dataset_argument
@model_option
@click.option("--split", default="", help="Whose queries.  [default: dev, else validation, else all]")
@click.option(
    "--judgements", "judgement_set", default="", metavar="NAME", help="The judgement set, where there are several."
)
@click.option("--min-grade", default=1, show_default=True, help="Lowest grade that is relevant.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and leave the index as it is.")
@format_option
def command(
    location: str,
    dataset: str,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    allow_rejected: Allowance,
    form: str,
    *,
    model: Path | None,
    split: str,
    judgement_set: str,
    min_grade: int,
    dry_run: bool,
) -> None:
    """Fit the weights of BM25 and k-NN of an index again, from judged queries, and write them into it.

    Nothing is trained and no document is encoded. The measure is nDCG@10. Whether the change is more than chance is
    judged on queries held out of the fit: each half is ranked with the weights that the other half chooses.

    \b
    Example:
      hybrid-search refit ./index jsonl --path ./my-data --split dev
    """  # noqa: D301
    from hybrid_search.training.fit.refit import refit

    with opened_dataset(dataset, path, dataset_config, dead_letter, allow_rejected) as (opened, _):
        report = refit(
            location,
            opened,
            split=split,
            judgement_set=judgement_set,
            min_grade=min_grade,
            model=model,
            dry_run=dry_run,
        )
        facts(msgspec.to_builtins(report), form)
        if report.trained_on:
            say(
                f"The towers were trained on these queries ({report.trained_on:.0%} of a sample of their training "
                "queries are among them) and rank them better than others: the weight of k-NN is too high. Fit on "
                "another --split."
            )
        weights = f"BM25 {report.weights_after[0]:.2f}, k-NN {report.weights_after[1]:.2f}"
        if report.weights_after == report.weights_before:
            say(f"The weights stay as they are: {weights}.")
            return
        gain = report.held_out - report.before
        change = f"{gain:+.4f} nDCG@10 on queries held out of the fit, p {max(report.p_value, 0.0001):.4f}"
        worth = "more than chance" if report.is_significant else "not more than chance explains"
        say(f"{'Written' if report.is_written else 'Not written'}: {weights}. {change}: {worth}.")
