"""Options about a server, as decorators: connection (before the verb), layout of an index, searching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from hybrid_search.cli.options import about
from hybrid_search.cli.output import say
from hybrid_search.errors import UsageError
from hybrid_search.settings.server import INLINE, Compression, KnnEngine, SearchOptions, ServerOptions

__all__ = [
    "CONNECTION_SETTINGS",
    "connect",
    "connection_options",
    "in_cluster_option",
    "layout_of",
    "layout_options",
    "pipeline_options",
    "search_options",
    "search_options_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_LAYOUT: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--shards", "shards", {"type": int}),
    ("--replicas", "replicas", {"metavar": "N"}),
    ("--knn-engine", "knn_engine", {"type": click.Choice(get_args(KnnEngine))}),
    ("--hnsw-m", "m", {"type": int}),
    ("--ef-construction", "ef_construction", {"type": int}),
    ("--compression", "compression", {"type": click.Choice(get_args(Compression))}),
    ("--on-disk/--in-memory", "on_disk", {"default": None}),
)


def layout_options(function: F) -> F:
    """Add --shards, --replicas, --knn-engine, --hnsw-m, --ef-construction, --compression and --on-disk."""
    for flag, name, more in reversed(_LAYOUT):
        function = click.option(flag, name, help=about(ServerOptions, name), **more)(function)
    return function


def layout_of(given: dict[str, Any]) -> ServerOptions:
    """Remove the options of :func:`layout_options` from a command's values and return them.

    :raises ConfigError: if a value is invalid.
    """
    names = [name for _, name, _ in _LAYOUT]
    taken = {name: given.pop(name) for name in names}
    return ServerOptions.from_mapping(taken, source="options")


def pipeline_options(function: F) -> F:
    """Add --pipeline and --default-pipeline, for loading."""
    for decorator in (
        click.option(
            "--default-pipeline", is_flag=True, help="Let the index use that pipeline where a search names none."
        ),
        click.option(
            "--pipeline",
            default="",
            metavar="NAME",
            help="Store the index's fusion on the server as a search pipeline of this name.",
        ),
    ):
        function = decorator(function)
    return function


def in_cluster_option(function: F) -> F:
    """Add --in-cluster, for searching."""
    return click.option(
        "--in-cluster",
        is_flag=True,
        help="Send queries as text: the towers that were deployed in the cluster encode them.",
    )(function)


def search_options(function: F) -> F:
    """Add --in-cluster, --pipeline, --allow-partial, --log-queries and --hash-queries, for searching."""
    for decorator in (
        click.option(
            "--hash-queries",
            is_flag=True,
            help="With --log-queries: log a keyed hash of the text instead of the text, and no ids of what was found.",
        ),
        click.option(
            "--log-queries",
            is_flag=True,
            help="Write each query, its times and how its rankings overlap to the server's index NAME-queries.",
        ),
        in_cluster_option,
        click.option(
            "--allow-partial",
            is_flag=True,
            help="Take what the other shards of a server found when some give no answer; stderr says so.",
        ),
        click.option(
            "--pipeline",
            metavar="NAME",
            help="How a server learns the fusion: a stored search pipeline, _default (the index's), _fusion (inside "
            "the query, from 3.10), or _inline.  [default: _inline, in each request]",
        ),
    ):
        function = decorator(function)
    return function


def search_options_of(given: dict[str, Any]) -> SearchOptions:
    """Remove the options of :func:`search_options` from a command's values and return them; missing hits are reported.

    :raises UsageError: if hashes are requested without a log.
    """
    pipeline, allowed = given.pop("pipeline"), given.pop("allow_partial")
    partial = say if allowed else None
    logged, hashed = given.pop("log_queries"), given.pop("hash_queries")
    if hashed and not logged:
        raise UsageError("--hash-queries is about the query log; give --log-queries too")
    return SearchOptions(
        pipeline=pipeline or INLINE,
        partial=partial,
        in_cluster=given.pop("in_cluster"),
        log_queries="hash" if hashed else "text" if logged else "",
    )


_FILE = click.Path(dir_okay=False, exists=True)
_CONNECTION: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--connections",), {"type": _FILE, "help": "A TOML file with a section for each server."}),
    (("--host", "hosts"), {"multiple": True, "metavar": "HOST:PORT", "help": "A further node of the same cluster."}),
    (("--user",), {"metavar": "NAME", "help": "The password is in OPENSEARCH_PASSWORD, or:"}),
    (("--password-file",), {"type": _FILE, "help": "A file with the password."}),
    (("--token-file",), {"type": _FILE, "help": "A file with a bearer token or an API key."}),
    (("--ca-certs",), {"type": _FILE, "help": "The certificate (PEM) of the server's own authority."}),
    (("--client-cert",), {"type": _FILE, "help": "Our own certificate (PEM), with its key unless:"}),
    (("--client-key",), {"type": _FILE, "help": "The key of it."}),
    (("--insecure",), {"is_flag": True, "help": "Take any certificate; anybody may answer then."}),
    (("--aws-region",), {"metavar": "REGION", "help": "Sign requests (SigV4); needs the extra aws."}),
    (("--aws-service",), {"type": click.Choice(["es", "aoss"]), "help": "A domain; Serverless is refused by name."}),
    (("--aws-profile",), {"metavar": "NAME", "help": "Whose credentials sign."}),
    (("--connect-timeout",), {"type": float, "metavar": "SECONDS", "help": "[default: 10]"}),
    (("--read-timeout",), {"type": float, "metavar": "SECONDS", "help": "[default: 60]"}),
    (("--retries",), {"type": int, "help": "Further tries of a request that may be repeated.  [default: 3]"}),
)

CONNECTION_SETTINGS = frozenset(names[-1].lstrip("-").replace("-", "_") for names, _ in _CONNECTION)
"""The names of the options' values."""


def connection_options(function: F) -> F:
    """Add the options of a connection."""
    for names, arguments in reversed(_CONNECTION):
        function = click.option(*names, **arguments)(function)
    return function


def connect(context: click.Context, given: dict[str, Any]) -> None:
    """Use the connection of the options while the command runs."""
    settings = {name: value for name, value in given.items() if value not in (None, (), False)}
    if settings.pop("insecure", False):
        settings["verify"] = False
    if not settings:
        return
    from hybrid_search.engines.opensearch.transport import connected

    context.with_resource(connected(settings))
