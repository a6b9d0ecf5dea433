"""``hybrid-search sweep``: train with many settings and keep the best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from hybrid_search.cli.options import format_option, opened_dataset, optional_dataset_argument
from hybrid_search.cli.output import print_json, print_jsonl, print_table, progress, say
from hybrid_search.cli.settings import set_option, setting_options
from hybrid_search.cli.train import settings_of, source_of, tracker_of
from hybrid_search.errors import UsageError, importing_extra
from hybrid_search.training.recipes import DEFAULT, RECIPES
from hybrid_search.training.sweep.presets import PRESETS, PresetName
from hybrid_search.training.sweep.space import Sampler, as_toml, read_space

if TYPE_CHECKING:
    from hybrid_search.protocols import Tracker
    from hybrid_search.training.sweep.run import SweepReport

__all__ = ["command"]


@click.command("sweep")
@optional_dataset_argument
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the study: study.db, the trials, and the best model as DIRECTORY/model.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(get_args(PresetName)), default="quick", show_default=True,
    help="How many trials, how long, and what is tried.",
)  # fmt: skip
@click.option(
    "--space", "space_file", type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML or JSON file of what is tried, by settings' names, in place of the preset's.",
)  # fmt: skip
@click.option("--show-space", is_flag=True, help="Print what would be tried, as such a file, and end.")
@click.option(
    "--sampler", type=click.Choice(get_args(Sampler)), default="tpe", show_default=True,
    help="tpe: near what was good; random: anywhere; grid: all combinations.",
)  # fmt: skip
@click.option("--prune/--no-prune", "prunes", default=True, help="End trials early that fall behind.  [default: yes]")
@click.option("--trials", type=click.IntRange(1), help="Trials of the study in all.  [default: the preset's]")
@click.option(
    "--seconds", type=click.FloatRange(0),
    help="Begin no trial that would end later; 0: no limit.  [default: the preset's]",
)  # fmt: skip
@click.option(
    "--check-on", default="", metavar="SPLIT|none",
    help="Whose queries tell what the best settings are worth.  [default: test, if there is one]",
)  # fmt: skip
@click.option("--split", default="train", show_default=True, help="Whose queries to train on; some are held out.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), default=DEFAULT, show_default=True, help="As of train.")
@click.option("--start", metavar="MODEL|none", help="As of train: a model to go on from; none: new towers.")
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path, dir_okay=False),
    help="A JSON file of settings that all trials have, as of train.",
)  # fmt: skip
@set_option
@setting_options("training.teacher", "training.max_steps", "training.max_samples", "training.seed")
@click.option(
    "--tracker", type=click.Choice(["jsonl", "wandb"]), default="jsonl", show_default=True,
    help="Where each trial's numbers go; with wandb, the trials are a group.",
)  # fmt: skip
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: str | None,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    form: str,
    **given: Any,
) -> None:
    """Train with many settings, compare the hybrids on held-out training queries, and keep the best model.

    Killed, the same command goes on; run in several shells, all of them work at one study. The first trial has the
    default settings; others win only if they gain more than one standard error over them, query by query.

    \b
    Examples:
      hybrid-search sweep jsonl --path ./my-data --out ./study
      hybrid-search sweep jsonl --path ./my-data --preset basic --start none --seconds 7200 --out ./study
      hybrid-search sweep --preset extensive --start none --show-space > space.toml
    """  # noqa: D301
    allow, out, tracker = given.pop("allow_rejected"), given.pop("out"), given.pop("tracker")
    settings, start = settings_of(context, given)
    file, shows = given.pop("space_file"), given.pop("show_space")
    space = read_space(file) if file else PRESETS[given["preset"]].space(settings.training)
    if shows:
        click.echo(as_toml(space), nl=False)
        return
    if dataset is None or out is None:
        raise UsageError("give a DATASET to train on, and --out for the study")
    _check_readable_again(path)
    with importing_extra("sweep"):
        from hybrid_search.training.sweep.run import SweepRequest, sweep
    from hybrid_search.training.request import TrainRequest

    def tracked(name: str) -> Tracker:
        made = tracker_of(tracker, out, group=out.resolve().name, run=name)
        assert made is not None
        return made

    with opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, reject):
        train = TrainRequest(
            towers=settings.towers, config=settings.training, start=start.folder if start else None,
            split=given.pop("split"), source=source_of(dataset, path, dataset_config),
        )  # fmt: skip
        trials, seconds = given.pop("trials") or 0, given.pop("seconds")
        limit = 0.0 if seconds is None else seconds or -1.0
        request = SweepRequest(train=train, space=space, trials=trials, seconds=limit, **given)
        report = sweep(
            opened, out, request,
            tracker_of=tracked if tracker == "wandb" else None, reject=reject, progress=progress, say=say,
        )  # fmt: skip
        if form == "table":
            _print_report(report)
        else:
            values = msgspec.to_builtins(report)
            print_json(values) if form == "json" else print_jsonl(values["trials"])
        say(_verdict(report))


def _check_readable_again(path: Path | None) -> None:
    from hybrid_search.loaders.opening import is_stream

    if path is not None and path.exists() and is_stream(path):
        raise UsageError(f"--path {path} can be read once only, and each trial reads the data; give a file")


def _print_report(report: SweepReport) -> None:
    names = sorted({name for row in report.trials for name in row.settings})
    short = [name.partition(".")[2] if name.startswith("training.") else name for name in names]
    header = ("", "trial", "state", report.measure, "towers", "seconds", *short, "note")
    rows = [
        (
            "*" if row.number == report.best else "", str(row.number), row.state, _figure(row.measure),
            _figure(row.towers), f"{row.seconds:,.0f}", *(str(row.settings.get(name, "")) for name in names), row.note,
        )
        for row in sorted(report.trials, key=lambda row: -1 if row.measure is None else row.measure, reverse=True)
    ]  # fmt: skip
    title = f"{report.measure} of the hybrid on {report.queries:,} held-out training queries; * is kept"
    print_table(header, rows, title=title, right=[name for name in header if name not in ("", "state", "note")])
    if report.importance:
        shares = [(name, f"{share:.2f}") for name, share in report.importance.items()]
        print_table(("setting", "importance"), shares, right=("importance",))
    if report.checked:
        from hybrid_search.evaluation.report import with_interval

        default, best = report.checked["default"], report.checked["best"]
        cells = [
            ("default settings", with_interval(default.mean, default.interval, ""), "", ""),
            (
                f"trial {report.best}", with_interval(best.mean, best.interval, ""),
                with_interval(best.difference, best.difference_interval, "+"), f"{max(best.p_value, 0.0001):.4f}",
            ),
        ]  # fmt: skip
        columns = ("", f"{report.measure} [95 %]", "difference [95 %]", "p")
        print_table(
            columns, cells, title=f"queries of split {report.checked_on}, which chose nothing", right=columns[1:]
        )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _verdict(report: SweepReport) -> str:
    default = next((row.number for row in report.trials if row.note == "default settings"), None)
    if report.best == default:
        text = f"The default settings stay: no trial gains more than one standard error over them. {report.model}"
    else:
        options = " ".join(f"--set {name}={value}" for name, value in report.settings.items())
        gain = f"{report.gain:+.4f} on the queries that chose"
        text = f"Best is trial {report.best}, {gain}: {report.model}, as train {options}"
    waits = f" {report.running} trials of other processes still run." if report.running else ""
    return text + waits
