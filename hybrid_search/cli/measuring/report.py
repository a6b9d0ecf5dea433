"""``hybrid-search report``: what training, evaluation and benchmarks wrote, as one HTML file and as pictures."""

from __future__ import annotations

from pathlib import Path

import click

from hybrid_search.cli.output import say

__all__ = ["command"]


@click.command("report")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The HTML file to write.")
@click.option(
    "--pictures", "folder", type=click.Path(path_type=Path, file_okay=False), help="A folder for the pictures, as PNG."
)
@click.option("--title", default="Report", show_default=True, help="The page's title.")
@click.option(
    "--texts", is_flag=True, help="Show the texts of queries and documents in examples; else ids and figures alone."
)
@click.option(
    "--commands",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A text file with the commands that made the inputs, shown at the end of the page.",
)
def command(
    inputs: tuple[Path, ...], out: Path | None, folder: Path | None, title: str, texts: bool, commands: Path | None
) -> None:
    """Show results in pictures: one HTML file that works offline, in print, light and dark, on a phone (extra report).

    An INPUT is a checkpoint (its training curves), what compare, evaluate, diagnose, tune and sweep print with
    --format json, a result of a benchmark, or a folder of these. The page says what it could have shown besides.

    \b
    Examples:
      hybrid-search compare beir --path ./nfcorpus ./index ./other --format json > results/compared.json
      hybrid-search report ./results ./model --out report.html --pictures ./pictures
    """  # noqa: D301
    from hybrid_search.errors import UsageError
    from hybrid_search.report.inputs import read_inputs
    from hybrid_search.report.page import write_pictures, write_report

    if out is None and folder is None:
        raise UsageError("nothing to write: give --out report.html, --pictures FOLDER, or both")
    found = read_inputs(inputs)
    lines = commands.read_text(encoding="utf-8", errors="replace").splitlines() if commands else []
    if out is not None:
        write_report(out, found, title=title, texts=texts, commands=lines)
        say(f"wrote {out}")
    if folder is not None:
        say(f"wrote {len(write_pictures(folder, found))} pictures into {folder}")
    for name, why in found.unused.items():
        say(f"not used: {name}: {why}")
    for what, how in found.missing:
        say(f"missing: {what} ({how})")
