"""``hybrid-search undeploy``: an index's towers out of its cluster."""

from __future__ import annotations

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts, say

__all__ = ["command"]


@click.command("undeploy")
@click.argument("location", metavar="LOCATION")
@format_option
def command(location: str, form: str) -> None:
    """Remove exactly what hybrid-search deploy made for an index; its documents and vectors stay.

    What another index behind the same alias uses stays too. It also clears what a killed deploy left.

    \b
    Example:
      hybrid-search undeploy opensearch://localhost:9200/passages
    """  # noqa: D301
    from hybrid_search.in_cluster.deploy import undeploy

    index, removed = undeploy(location)
    facts({"index": index, "removed": removed}, form)
    say(f"Took the towers of {index} out of the cluster." if removed else f"Nothing is deployed for {index}.")
