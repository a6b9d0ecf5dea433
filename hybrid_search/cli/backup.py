"""``backup`` and ``restore``: a copy of an index in a folder, made while it is in use, and putting one back."""

from __future__ import annotations

import sys

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts
from hybrid_search.errors import UsageError

__all__ = ["command", "restore_command"]


@click.command("backup")
@click.argument("location", metavar="FOLDER")
@click.argument("to", metavar="COPY")
@format_option
def command(location: str, to: str, form: str) -> None:
    """Copy an index in a folder as it is at one moment, towers and all, while others search it and write to it.

    COPY is a new folder, and an index itself. A server has snapshots of its own.

    \b
    Example:
      hybrid-search backup ./index ./index-monday
    """  # noqa: D301
    from hybrid_search.indexes import backup

    facts({"index": location, "copy": to, "documents": backup(location, to)}, form)


@click.command("restore")
@click.argument("copy", metavar="COPY")
@click.argument("location", metavar="FOLDER")
@click.option("--yes", is_flag=True, help="Do not ask, where an index is replaced.")
@format_option
def restore_command(copy: str, location: str, yes: bool, form: str) -> None:
    """Put a copy in the place of an index; the copy stays. A failure leaves the index as it was.

    \b
    Example:
      hybrid-search restore ./index-monday ./index
    """  # noqa: D301
    from hybrid_search.indexes import restore
    from hybrid_search.opening import index_exists

    if index_exists(location) and not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{location} would be replaced by {copy}; say --yes")
        click.confirm(f"{location} will be replaced by {copy}. Go on?", abort=True, err=True)
    facts({"index": location, "copy": copy, "documents": restore(copy, location)}, form)
