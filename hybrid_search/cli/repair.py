"""``hybrid-search repair``: build an index's caches again from its documents."""

from __future__ import annotations

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts

__all__ = ["command"]


@click.command("repair")
@click.argument("location", metavar="FOLDER")
@format_option
def command(location: str, form: str) -> None:
    """Build again what an index in a folder has beside its documents: BM25, k-NN, counts.

    Documents and vectors stay as they are, and nothing is encoded. What a crash left is mended by the next command
    anyhow; this is for what `info --verify` reports.

    \b
    Example:
      hybrid-search repair ./index
    """  # noqa: D301
    from hybrid_search.indexes import repair_index

    facts(repair_index(location), form)
