"""``serve``: the HTTP service; ``new-key``: an API key for it; ``mcp``: an index for assistants."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from hybrid_search.cli.options import about, model_option, rerank_depth_of, rerank_options, reranker_of
from hybrid_search.cli.output import say
from hybrid_search.cli.server_options import in_cluster_option
from hybrid_search.errors import MissingExtra
from hybrid_search.opening import is_on_server
from hybrid_search.settings.service import ServiceOptions

__all__ = ["command", "mcp_command", "new_key_command"]

F = TypeVar("F", bound=Callable[..., Any])

_KEYS = click.Path(path_type=Path, dir_okay=False)

_NEEDED = ("fastapi", "prometheus_client", "uvicorn")
"""Looked for, not imported: of several processes, the first one serves nobody itself, and starts the others sooner."""
_LIMITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--max-body", "max_body", {"type": int, "metavar": "BYTES"}),
    ("--max-query", "max_query", {"type": int, "metavar": "CHARACTERS"}),
    ("--max-k", "max_k", {"type": int}),
    ("--max-batch", "max_batch", {"type": int, "metavar": "N"}),
    ("--concurrency", "concurrency", {"type": int, "metavar": "N"}),
    ("--threads", "threads", {"type": int, "metavar": "N"}),
    ("--time-limit", "time_limit", {"type": float, "metavar": "SECONDS"}),
    ("--drain", "drain", {"type": float, "metavar": "SECONDS"}),
    ("--grace", "grace", {"type": float, "metavar": "SECONDS"}),
)


def _limits(function: F) -> F:
    for flag, name, more in reversed(_LIMITS):
        default = getattr(ServiceOptions(), name)
        function = click.option(
            flag, name, default=default, show_default=True, help=about(ServiceOptions, name), **more
        )(function)
    return function


@click.command("serve")
@click.argument("location", metavar="LOCATION")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="The port to listen on; 0 for any."
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes; one of them writes."
)
@model_option
@in_cluster_option
@rerank_options
@click.option("--writable", is_flag=True, help=about(ServiceOptions, "writable"))
@click.option("--keys", type=_KEYS, help=about(ServiceOptions, "keys"))
@click.option("--judgements", metavar="FOLDER", default="", help=about(ServiceOptions, "judgements"))
@click.option("--origin", "origins", multiple=True, help=about(ServiceOptions, "origins"))
@_limits
def command(
    location: str, host: str, port: int, workers: int, model: Path | None, in_cluster: bool, rerank: str | None,
    rerank_depth: int | None, **given: Any,
) -> None:  # fmt: skip
    """Serve an index over HTTP until SIGTERM or Ctrl-C, which finish what runs; SIGHUP opens index and keys anew.

    At / it has a page to search with, at /docs a description; the log is JSON lines on stderr.

    The service asks for no key unless --keys names a file of them (hybrid-search new-key), and speaks no TLS: put a
    proxy before it where the network is not your own.

    \b
    Examples:
      hybrid-search serve ./index --port 8000
      hybrid-search serve ./index --writable --workers 2 --keys keys.toml
      hybrid-search serve opensearch://localhost:9200/passages
      hybrid-search serve ./index --rerank ./cross-encoder --rerank-depth 30 --workers 2
      curl -d '{"query": "how do I reset the password"}' -H 'content-type: application/json' localhost:8000/search
    """  # noqa: D301
    depth = rerank_depth_of(rerank_depth, reranks=bool(rerank))
    options = ServiceOptions.from_mapping({**given, "keys": str(given["keys"] or "")}, source="options")
    if missing := next(filter(lambda name: find_spec(name) is None, _NEEDED), None):
        raise MissingExtra(missing.replace("_", "-"), "serve")
    from hybrid_search.service.door import bound
    from hybrid_search.service.logs import log_as_json
    from hybrid_search.service.workers import Task, Workers

    # At most so many threads for one search: several searches run at once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with bound(host, port) as door:
        url = f"http://{f'[{host}]' if ':' in host else host}:{door.getsockname()[1]}"

        def ready() -> None:
            click.echo(url)
            say(f"Serving {location} at {url}; Ctrl-C ends it.")
            if host not in ("127.0.0.1", "localhost", "::1") and not options.keys:
                say(f"Warning: whoever reaches {url} may use it; --keys FILE lets only those with an API key in.")

        task = Task(
            location=location, options=options, model=str(model or ""), in_cluster=in_cluster,
            rerank=rerank or "", rerank_depth=depth, connection=_connection(location),
        )  # fmt: skip
        if workers > 1:
            Workers(task, door, workers).run(ready)
        else:
            from hybrid_search.service.worker import serve

            log_as_json()
            serve(task, [door], ready)
    say("Ended.")


def _connection(location: str) -> Mapping[str, Any] | None:
    """Return the options of a connection that were given before the verb."""
    if not is_on_server(location):
        return None
    from hybrid_search.engines.opensearch.transport import chosen

    said = chosen()
    return said if isinstance(said, Mapping) else None


@click.command("new-key")
@click.argument("name")
@click.option("--keys", "file", required=True, type=_KEYS, help="The file; made if needed.")
@click.option("--write", is_flag=True, help="The key may also add and delete documents.")
def new_key_command(name: str, file: Path, write: bool) -> None:
    """Make an API key for hybrid-search serve: its hash goes to a file, the key itself is printed once.

    NAME is in the service's log. A running service takes up the file at SIGHUP; a section taken out ends its key.

    \b
    Example:
      hybrid-search new-key shop-frontend --keys keys.toml
    """  # noqa: D301
    from hybrid_search.service.keys import add_key

    click.echo(add_key(file, name, ("search", "write") if write else ("search",)))
    say(f"Keep this key, which can't be shown again; {file} has its hash.")


@click.command("mcp")
@click.argument("location", metavar="LOCATION")
@model_option
@in_cluster_option
@rerank_options
@click.option("--name", default="hybrid-search", show_default=True, help="What the server calls itself.")
def mcp_command(
    location: str, model: Path | None, in_cluster: bool, rerank: str | None, rerank_depth: int | None, name: str
) -> None:
    """Give an assistant the tools search, get and describe over an index, by the Model Context Protocol (stdio).

    It only reads. The assistant starts it; a setting for most of them is {"command": "hybrid-search", "args": ["mcp",
    "/path/to/index"]}.

    \b
    Examples:
      hybrid-search mcp ./index
      hybrid-search mcp opensearch://localhost:9200/passages --name passages
    """  # noqa: D301
    depth = rerank_depth_of(rerank_depth, reranks=bool(rerank))
    from hybrid_search.adapters.mcp import mcp_server
    from hybrid_search.opening import open_retriever
    from hybrid_search.settings.server import SearchOptions

    search = SearchOptions(in_cluster=True) if in_cluster else None
    with open_retriever(location, model=model, follow=True, search=search) as retriever:
        mcp_server(retriever.reranking(reranker_of(rerank), depth), name=name).run("stdio")
