"""``hybrid-search shorten``: a model with shorter vectors."""

from __future__ import annotations

from pathlib import Path

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts

__all__ = ["command"]


@click.command("shorten")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dimension", type=int, required=True, help="How many numbers of each vector to keep, the first ones.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The model to write.")
@format_option
def command(model: Path, dimension: int, out: Path, form: str) -> None:
    """Write a model whose vectors are the first numbers of another's: a smaller index, a faster k-NN.

    Made for models that were trained with --matryoshka, whose first numbers are vectors of their own. The new model has
    a fingerprint of its own; `load` and `reindex` take it like any other.

    \b
    Example:
      hybrid-search train jsonl --path ./my-data --matryoshka 64,128 --out ./model
      hybrid-search shorten ./model --dimension 64 --out ./model-64
      hybrid-search load jsonl --path ./my-data --model ./model-64 --to ./index-64
    """  # noqa: D301
    from hybrid_search.workflows.shortening import shorten

    facts(shorten(model, out, dimension), form)
