"""``hybrid-search serve-towers``: the towers behind an HTTP address, for a cluster that may not run them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hybrid_search.cli.deploy import TOKEN
from hybrid_search.cli.output import say

__all__ = ["command"]


@click.command("serve-towers")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="The port to listen on; 0 for any."
)
def command(model: Path, host: str, port: int) -> None:
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
