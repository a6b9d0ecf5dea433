"""``deploy``, ``undeploy`` and ``serve-towers``: towers in an index's cluster, and beside it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hybrid_search.cli.options import MODEL, format_option
from hybrid_search.cli.output import facts, progress, say

__all__ = ["command", "serve_towers_command", "undeploy_command"]

TOKEN = "HYBRID_SEARCH_TOWERS_TOKEN"
"""Environment variable of the token that requests must contain, for both ends of a connector."""

REQUESTS = "requests.http"


@click.command("deploy")
@click.option("--to", "location", required=True, metavar="LOCATION", help="The index, or an alias: its live index.")
@click.option("--model", type=MODEL, help="The towers.  [default: those that travel with the index]")
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
    default=None,
    help="The file to write requests for OpenSearch Dashboards' Dev Tools to, also over another one.  "
    "[default: requests.http, unless there is another file of that name]",
)
@format_option
def command(
    location: str, model: Path | None, allow_settings: bool, connector: str | None, requests: Path | None, form: str
) -> None:
    """Run an index's towers inside its OpenSearch cluster (plugin ml-commons).

    Afterwards plain text is enough, for queries (a neural clause) and for documents, for everybody and without Python.
    Again is harmless. What goes wrong half-way is undone. Take them out again with hybrid-search undeploy.

    \b
    Examples:
      hybrid-search deploy --to opensearch://localhost:9200/passages --allow-settings
      hybrid-search deploy --to opensearch://localhost:9200/passages --connector https://towers.example.org:8080
    """  # noqa: D301
    from hybrid_search.in_cluster.deploy import Connector, deploy

    if requests is not None and not requests.name:
        raise click.BadParameter("is empty; name the file to write", param_hint="--requests")
    outside = Connector(connector, os.environ.get(TOKEN, "")) if connector else None
    deployed = deploy(location, model=model, connector=outside, allow_settings=allow_settings, progress=progress)
    written = _write_requests(requests, deployed.requests.encode())
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
            "requests": str(written) if written else None,
        },
        form,
    )
    if form == "table" and outcome.made:
        click.echo(deployed.requests, nl=False)
    done = "Deployed" if outcome.made else "Unchanged: deployed already"
    if written:
        say(f"{done}. Requests to search with: {written}")
    else:
        say(f"{done}. {REQUESTS} is another file and stays as it is; --requests FILE writes requests to search with.")


def _write_requests(chosen: Path | None, content: bytes) -> Path | None:
    """Write the requests; unless the user chose the file, don't overwrite other content. Return the written file."""
    from hybrid_search.storage import atomic_write_bytes, disk_errors

    file = chosen or Path(REQUESTS)
    if chosen is None and os.path.lexists(file):
        with disk_errors(f"reading {file}"):
            if not file.is_file() or file.read_bytes() != content:
                return None
    atomic_write_bytes(file, content)
    return file


@click.command("undeploy")
@click.argument("location", metavar="LOCATION")
@format_option
def undeploy_command(location: str, form: str) -> None:
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


@click.command("serve-towers")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="The port to listen on; 0 for any."
)
def serve_towers_command(model: Path, host: str, port: int) -> None:
    """Serve a model's towers over HTTP until Ctrl-C: what hybrid-search deploy --connector connects a cluster to.

    With a token in HYBRID_SEARCH_TOWERS_TOKEN, requests must bring it; without one, whoever reaches the port may have
    texts encoded. It speaks no TLS: put a proxy before it where the network is not your own.

    \b
    Example:
      hybrid-search serve-towers ./model --port 8080
    """  # noqa: D301
    from hybrid_search.in_cluster.tower_server import TowerServer

    with TowerServer(model, (host, port), os.environ.get(TOKEN, "")) as server:
        click.echo(server.url)
        say(f"Serving the towers of {model} at {server.url}; Ctrl-C ends it.")
        if server.is_open_to_others:
            say(f"Warning: whoever reaches {server.url} may use it; set {TOKEN} to a token that requests must bring.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Ended.")
