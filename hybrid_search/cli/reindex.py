"""``hybrid-search reindex``: encode an index's documents with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybrid_search.cli.options import MODEL, allow_rejected_option, dead_letter_option, format_option, rejecting
from hybrid_search.cli.output import facts, progress
from hybrid_search.cli.server_options import layout_of, layout_options
from hybrid_search.cli.swapped import alias_options, gate_of, print_swap, shown
from hybrid_search.errors import UsageError

__all__ = ["command"]


@click.command("reindex")
@click.option("--model", required=True, type=MODEL, help="The towers that make the new index's vectors.")
@click.option(
    "--from",
    "source",
    metavar="LOCATION",
    help="The index whose documents are read.  [default with --alias: the index that is live]",
)
@click.option(
    "--to", "target", required=True, metavar="LOCATION", help="The new index; with --alias the server is enough."
)
@alias_options
@click.option("--recreate", is_flag=True, help="Begin anew where an earlier run was killed, or an index is there.")
@click.option(
    "--yes", is_flag=True, help="With --alias: move it even to an index of fewer than nine tenths of the documents."
)
@click.option("--threads", default=0, help="Encoding threads, 0 for all cores.")
@layout_options
@dead_letter_option
@allow_rejected_option("0", " None are by default: each was in an index already.")
@format_option
def command(model: Path, source: str | None, target: str, dead_letter: Path, form: str, **given: Any) -> None:
    """Encode the documents of an index with another model, into a new index.

    The documents are read from the index, not from the data set. With --alias queries go on in the live index, and
    what changes in it meanwhile is taken over; then the new index is checked and the alias moved, in one step. After a
    kill, run the same command again.

    \b
    Examples:
      hybrid-search reindex --model ./new-model --alias passages --to opensearch://localhost:9200
      hybrid-search reindex --model ./new-model --from ./index --to ./new-index
    """  # noqa: D301
    from hybrid_search.loading.blue_green import alias_address
    from hybrid_search.loading.load import LoadOptions
    from hybrid_search.loading.reindex import reindex, reindex_behind_alias

    allow, alias, least_recall = given.pop("allow_rejected"), given.pop("alias"), given.pop("least_recall")
    gate = gate_of(given.pop("gate"), alias, stage=given.pop("stage"), may_be_smaller=given.pop("yes"))
    options = LoadOptions(layout=layout_of(given), **given)
    with rejecting(dead_letter, allow) as reject:
        if alias is not None:
            address = alias_address(target, alias)
            swap = reindex_behind_alias(
                address,
                model,
                source=source,
                options=options,
                least_recall=least_recall,
                reject=reject,
                gate=gate,
                progress=progress,
            )
            reject.read("index", swap.load.documents + swap.load.rejected)
            print_swap(swap, address, form)
        elif source is not None:
            report = reindex(source, target, model, options=options, reject=reject, progress=progress)
            reject.read("index", report.added + report.unchanged + report.rejected)
            facts(shown(report, form), form)
        else:
            raise UsageError("which index is to be read? give --from LOCATION, or --alias for the live one")
