"""``hybrid-search drop``: delete an index."""

from __future__ import annotations

import sys

import click

from hybrid_search.cli.output import say
from hybrid_search.errors import UsageError

__all__ = ["command"]


@click.command("drop")
@click.argument("location", metavar="LOCATION")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--live", "also_live", is_flag=True, help="Even if it is what an alias stands for; the alias goes with it."
)
def command(location: str, yes: bool, also_live: bool) -> None:
    """Delete an index, in a folder or on a server. It can't be brought back.

    On a server the towers go too, unless another index was made with the same model.

    \b
    Example:
      hybrid-search drop opensearch://localhost:9200/passages-000001 --yes
    """  # noqa: D301
    from hybrid_search.indexes import drop, to_be_dropped

    what = to_be_dropped(location, also_live=also_live)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{what} would be deleted for good; say --yes")
        click.confirm(f"{what} will be deleted for good. Go on?", abort=True, err=True)
    drop(location)
    say(f"Deleted {what}.")
