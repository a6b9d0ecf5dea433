"""``hybrid-search quickstart``: training, loading, evaluation and queries on text that comes with Python."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click
import msgspec

from hybrid_search.cli.measuring.evaluate import print_evaluation
from hybrid_search.cli.options import opened_dataset
from hybrid_search.cli.output import facts, progress, say
from hybrid_search.cli.query import print_hits
from hybrid_search.cli.train import print_training
from hybrid_search.errors import importing_extra

if TYPE_CHECKING:
    from hybrid_search.loaders.intake import Intake
    from hybrid_search.protocols import Dataset

__all__ = ["command"]

DATASET = "python_docs"
QUERIES = (
    "join the parts of a path",
    "call a function after a number of seconds",
    "what happens when no except clause matches",
)


@click.command("quickstart")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("quickstart"),
    show_default=True,
    help="Folder for the model and the index.",
)
@click.option("--restart", is_flag=True, help="Train again even if the folder holds a model.")
def command(out: Path, restart: bool) -> None:
    """Train, index, evaluate and query on the documentation of this Python: nothing to download, nothing to start.

    \b
    Example:
      hybrid-search quickstart
    """  # noqa: D301
    started = perf_counter()
    model, index = out / "model", out / "index"
    with opened_dataset(DATASET, None, "", out / "rejected.jsonl") as (dataset, reject):
        _train(dataset, model, reject, restart=restart)
        _load(dataset, model, index, reject, recreate=restart)
        _evaluate(dataset, index)
    _query(index)
    say(f"\nAll of it took {perf_counter() - started:.0f} s. Now yours:")
    say(f'  hybrid-search query "your words" --from {index} --explain')
    say("  hybrid-search load jsonl --path ./my-data --to ./my-index     (README.md has the form of the data)")


def _train(dataset: Dataset, model: Path, reject: Intake, *, restart: bool) -> None:
    from hybrid_search.towers.model_card import MODEL_FILE
    from hybrid_search.training.request import TrainRequest

    with importing_extra("train"):
        from hybrid_search.training.train import train

    say(f"\n1. Train on {DATASET}, the documentation of this Python")
    if (model / MODEL_FILE).exists() and not restart:
        say(f"   {model} is there already; --restart trains again")
        return
    summary = train(dataset, model, TrainRequest(restart=restart), reject=reject, progress=progress, say=say)
    print_training(summary, "table")


def _load(dataset: Dataset, model: Path, index: Path, reject: Intake, *, recreate: bool) -> None:
    from hybrid_search.loading.load import LoadOptions, load

    say("\n2. Load the passages into an index, with their vectors")
    options = LoadOptions(recreate=recreate)
    report = load(dataset, index, model=model, options=options, reject=reject, progress=progress)
    facts({name: value for name, value in msgspec.to_builtins(report).items() if value != {}}, "table")


def _evaluate(dataset: Dataset, index: Path) -> None:
    from hybrid_search.evaluation.evaluate import evaluate_index

    say("\n3. Evaluate on queries that training never saw")
    print_evaluation(evaluate_index(dataset, index, progress=progress))


def _query(index: Path) -> None:
    from hybrid_search.opening import open_retriever

    say("\n4. Ask")
    with open_retriever(index) as retriever:
        for query in QUERIES:
            started = perf_counter()
            hits = retriever.search(query, 3)
            print_hits(query, "hybrid", (perf_counter() - started) * 1_000, hits)
