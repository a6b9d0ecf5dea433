"""The options of ``hybrid-search load`` for an index on a server."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hybrid_search.cli.options import WithOldName

if TYPE_CHECKING:
    from hybrid_search.loading.into_server import ServerLoad

__all__ = ["ends_cleanly", "server_load_of", "server_load_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--resume",
        {
            "is_flag": True,
            "help": "Server: go on from the journal of an interrupted load; what the server had acknowledged is "
            "neither encoded nor sent nor asked for again.",
        },
    ),
    (
        "--without-replicas",
        {
            "is_flag": True,
            "help": "Server: one copy of each shard until the load has ended; faster with several nodes, but a node "
            "that is lost meanwhile takes its documents with it.",
        },
    ),
    (
        "--force-merge",
        {
            "type": click.IntRange(min=1),
            "is_flag": False,
            "flag_value": 1,
            "metavar": "[SEGMENTS]",
            "help": "Server: merge each shard down to so many segments at the end (1 when no number is given).",
        },
    ),
    ("--warm-up", {"is_flag": True, "help": "Server: load the graphs into memory at the end."}),
)

_TERMINATED = 128 + signal.SIGTERM


def server_load_options(function: F) -> F:
    """Add the options."""
    for name, arguments in reversed(_OPTIONS):
        function = click.option(name, **arguments)(function)
    return click.option(
        "--parallel",
        "--connections",
        "connections",
        cls=WithOldName,
        default=4,
        show_default=True,
        metavar="N",
        help="Server: requests sent at the same time.",
    )(function)


def server_load_of(given: dict[str, Any], path: Path | None, dataset_config: str) -> ServerLoad:
    """Remove the options from a command's values and return them.

    :param path: of the data set; identifies it together with ``dataset_config``.
    """
    from hybrid_search.loading.into_server import ServerLoad

    return ServerLoad(
        source=" ".join(filter(None, (str(path.resolve()) if path else "", dataset_config))),
        resume=given.pop("resume"),
        connections=given.pop("connections"),
        without_replicas=given.pop("without_replicas"),
        force_merge=given.pop("force_merge") or 0,
        warm_up=given.pop("warm_up"),
    )


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that settings are restored as after Ctrl-C."""

    def end(*_: object) -> None:
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
