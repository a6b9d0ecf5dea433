"""``hybrid-search deploy``: an index's towers into its cluster."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import facts, progress, say

__all__ = ["TOKEN", "command"]

TOKEN = "HYBRID_SEARCH_TOWERS_TOKEN"
"""Where both ends of a connector find the token that requests must bring."""


@click.command("deploy")
@click.option("--to", "location", required=True, metavar="LOCATION", help="The index, or an alias: its live index.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="The towers.  [default: those that travel with the index]"
)
@click.option("--allow-settings", is_flag=True, help="Change the cluster settings that are in the way.")
@click.option(
    "--connector",
    metavar="URL",
    help="Do not run the towers in the cluster but let it ask those at this address (hybrid-search serve-towers); "
    f"a token that they want is in {TOKEN}.",
)
@click.option(
    "--requests",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("requests.http"),
    show_default=True,
    help="Where to write requests for OpenSearch Dashboards' Dev Tools.",
)
@format_option
def command(
    location: str, model: Path | None, allow_settings: bool, connector: str | None, requests: Path, form: str
) -> None:
    """Run an index's towers inside its OpenSearch cluster (plugin ml-commons).

    Afterwards plain text is enough, for queries (a neural clause) and for documents, for everybody and without Python.
    Again is harmless. What goes wrong half-way is undone. Take them out again with hybrid-search undeploy.

    \b
    Examples:
      hybrid-search deploy --to opensearch://localhost:9200/passages --allow-settings
      hybrid-search deploy --to opensearch://localhost:9200/passages --connector https://towers.example.org:8080
    """  # noqa: D301
    from hybrid_search.storage import atomic_write_bytes
    from hybrid_search.workflows.deploying import Connector, deploy

    if not requests.name:
        raise click.BadParameter("is empty; name the file to write", param_hint="--requests")
    outside = Connector(connector, os.environ.get(TOKEN, "")) if connector else None
    deployed = deploy(location, model=model, connector=outside, allow_settings=allow_settings, progress=progress)
    atomic_write_bytes(requests, deployed.requests.encode())
    outcome = deployed.outcome
    record = outcome.deployment
    facts(
        {
            "index": record.index,
            "fingerprint": record.fingerprint,
            "query_model": record.query_model,
            "document_model": record.document_model,
            "ingest_pipeline": record.ingest_pipeline,
            "search_pipeline": record.search_pipeline,
            "search_template": record.search_template,
            "lowest_cosine": outcome.cosine,
            "made": list(outcome.made),
            "requests": str(requests),
        },
        form,
    )
    if form == "table" and outcome.made:
        click.echo(deployed.requests, nl=False)
    say(f"{'Deployed' if outcome.made else 'Unchanged: deployed already'}. Requests to search with: {requests}")
