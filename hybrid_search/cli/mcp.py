"""``hybrid-search mcp``: an index for assistants, over standard input and output."""

from __future__ import annotations

from pathlib import Path

import click

from hybrid_search.cli.options import model_option
from hybrid_search.cli.server_options import in_cluster_option
from hybrid_search.settings.server import SearchOptions

__all__ = ["command"]


@click.command("mcp")
@click.argument("location", metavar="LOCATION")
@model_option
@in_cluster_option
@click.option("--name", default="hybrid-search", show_default=True, help="What the server calls itself.")
def command(location: str, model: Path | None, in_cluster: bool, name: str) -> None:
    """Give an assistant the tools search, get and describe over an index, by the Model Context Protocol (stdio).

    It only reads. The assistant starts it; a setting for most of them is {"command": "hybrid-search", "args": ["mcp",
    "/path/to/index"]}.

    \b
    Examples:
      hybrid-search mcp ./index
      hybrid-search mcp opensearch://localhost:9200/passages --name passages
    """  # noqa: D301
    from hybrid_search.adapters.mcp import mcp_server
    from hybrid_search.opening import open_retriever

    search = SearchOptions(in_cluster=True) if in_cluster else None
    with open_retriever(location, model=model, follow=True, search=search) as retriever:
        mcp_server(retriever, name=name).run("stdio")
