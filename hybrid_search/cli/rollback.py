"""``hybrid-search rollback``: the index that was live before, live again."""

from __future__ import annotations

import click
import msgspec

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts

__all__ = ["command"]


@click.command("rollback")
@click.argument("location", metavar="LOCATION")
@click.option("--alias", metavar="NAME", help="The alias, where LOCATION is the server alone.")
@click.option(
    "--to-index",
    metavar="INDEX",
    help="Go to this index instead, forward again for example; it must have been finished and checked.",
)
@format_option
def command(location: str, alias: str | None, to_index: str | None, form: str) -> None:
    """Let an alias stand again for the index that was live before, in one step.

    Each index remembers which were live before it took over: another rollback goes back further. An index that was
    never finished, or failed its checks, is not gone back to. Nothing is deleted.

    \b
    Examples:
      hybrid-search rollback opensearch://localhost:9200/passages
      hybrid-search rollback opensearch://localhost:9200/passages --to-index passages-000003
    """  # noqa: D301
    from hybrid_search.indexes import roll_back
    from hybrid_search.loading.blue_green import alias_address

    facts(msgspec.to_builtins(roll_back(alias_address(location, alias), to_index)), form)
