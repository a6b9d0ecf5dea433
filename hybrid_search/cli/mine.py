"""``hybrid-search mine``: hard negatives from an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from hybrid_search.cli.options import dataset_argument, format_option, from_option, model_option, opened_dataset
from hybrid_search.cli.output import facts, progress
from hybrid_search.cli.settings import given_settings, nested, setting_options
from hybrid_search.settings.training import TrainConfig

__all__ = ["command"]


@click.command("mine")
@dataset_argument
@from_option
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option("--split", default="train", show_default=True, help="Whose queries to mine for.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "bm25", "knn"]),
    default="bm25",
    show_default=True,
    help="What ranks the documents.",
)
@model_option
@setting_options("training.max_samples", "training.seed", "training.rank_window", "training.false_negative_margin")
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: str,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    location: str,
    form: str,
    **given: Any,
) -> None:
    """Mine hard negatives: documents that rank high for a training query and are no answer to it.

    Left out are the query's own answers, other documents with the same text, documents that contain a known answer
    string, and those that score almost like the answer. `train --negatives-file` takes the file.

    \b
    Example:
      hybrid-search mine beir --path ./nfcorpus --from ./index --out negatives.jsonl
    """  # noqa: D301
    from hybrid_search.training.mine import mine

    allow = given.pop("allow_rejected")
    config = TrainConfig.from_mapping(nested(given_settings(context)).get("training", {}), source="options")
    with opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, _):
        report = mine(opened, location, config=config, progress=progress, **given)
        facts(msgspec.to_builtins(report), form)
