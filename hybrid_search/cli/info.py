"""``hybrid-search info``: what an index or a model is."""

from __future__ import annotations

from pathlib import Path

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts

__all__ = ["command"]


@click.command("info")
@click.argument("location", metavar="LOCATION|MODEL")
@click.option(
    "--verify",
    is_flag=True,
    help="Read everything and check it against its checksums; of a server's index, the towers stored with it.",
)
@format_option
def command(location: str, verify: bool, form: str) -> None:
    """Show what an index or a model holds: sizes, settings, fingerprint.

    \b
    Example:
      hybrid-search info ./index --verify
    """  # noqa: D301
    from hybrid_search.models import inspect_index, inspect_model, is_model

    path = Path(location)
    facts(inspect_model(path) if is_model(path) else inspect_index(location, verify=verify), form)
