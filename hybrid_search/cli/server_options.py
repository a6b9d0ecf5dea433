"""Options about an index on a server that several verbs share, as decorators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from hybrid_search.cli.output import say
from hybrid_search.errors import UsageError
from hybrid_search.settings.server import COMPRESSIONS, INLINE, Compression, KnnEngine, SearchOptions, ServerOptions

__all__ = [
    "in_cluster_option",
    "layout_of",
    "layout_options",
    "pipeline_options",
    "search_options",
    "search_options_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_LEVELS = "; ".join(f"{engine}: {', '.join(levels)}" for engine, levels in COMPRESSIONS.items())

_LAYOUT: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--shards", "shards", {"type": int, "help": "Shards of a new index on a server.  [default: 1]"}),
    (
        "--replicas",
        "replicas",
        {"metavar": "N", "help": "Copies beside the first: a number, or fewest and most.  [default: 0-1]"},
    ),
    (
        "--knn-engine",
        "knn_engine",
        {"type": click.Choice(get_args(KnnEngine)), "help": "The server's k-NN engine.  [default: lucene]"},
    ),
    ("--hnsw-m", "m", {"type": int, "help": "HNSW's links of a node.  [default: 16]"}),
    ("--ef-construction", "ef_construction", {"type": int, "help": "Neighbours looked at for them.  [default: 100]"}),
    (
        "--compression",
        "compression",
        {"type": click.Choice(get_args(Compression)), "help": f"Keep vectors smaller ({_LEVELS})."},
    ),
    (
        "--on-disk/--in-memory",
        "on_disk",
        {
            "default": None,
            "help": "Search the compressed vectors, and rank what was found again by the whole ones on disk.",
        },
    ),
)


def layout_options(function: F) -> F:
    """--shards, --replicas, --knn-engine, --hnsw-m, --ef-construction, --compression and --on-disk."""
    for flag, name, more in reversed(_LAYOUT):
        function = click.option(flag, name, **more)(function)
    return function


def layout_of(given: dict[str, Any]) -> ServerOptions:
    """Take the options of :func:`layout_options` out of a command's values.

    :raises ConfigError: if one has a bad value.
    """
    names = [name for _, name, _ in _LAYOUT]
    taken = {name: given.pop(name) for name in names}
    return ServerOptions.from_mapping(taken, source="options")


def pipeline_options(function: F) -> F:
    """--pipeline and --default-pipeline, of a load."""
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
    """--in-cluster, of a search."""
    return click.option(
        "--in-cluster",
        is_flag=True,
        help="Send queries as text: the towers that were deployed in the cluster encode them.",
    )(function)


def search_options(function: F) -> F:
    """--in-cluster, --pipeline, --allow-partial, --log-queries and --hash-queries, of a search."""
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
    """Take the options of :func:`search_options` out of a command's values; stderr is told of missing hits.

    :raises UsageError: if hashes are asked for without a log.
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
