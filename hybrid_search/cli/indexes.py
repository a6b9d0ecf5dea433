"""``hybrid-search indexes``: what indexes a server has, and which one is live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import print_json, print_jsonl, print_table, say

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.index.aliases import ServerIndex

__all__ = ["command"]


@click.command("indexes")
@click.argument("location", metavar="SERVER")
@format_option
def command(location: str, form: str) -> None:
    """List the indexes of a server: which one is live, model, documents, size, age.

    SERVER is opensearch://host:9200; with /NAME after it only the indexes of that alias are listed.

    \b
    Example:
      hybrid-search indexes opensearch://localhost:9200
    """  # noqa: D301
    from hybrid_search.indexes import indexes_on

    found = indexes_on(location)
    if form != "table":
        (print_json if form == "json" else print_jsonl)([_row(one) for one in found])
    elif found:
        _print_table(found)
    if not found:
        say(f"There is no index of hybrid-search at {location}.")


def _row(one: ServerIndex) -> dict[str, Any]:
    mark = one.mark
    return {
        "index": one.name,
        "live_as": one.aliases,
        "alias": mark.alias if mark else None,
        "state": mark.state if mark else None,
        "fingerprint": one.fingerprint,
        "dimension": one.dimension,
        "documents": one.documents,
        "bytes": one.bytes,
        "health": one.health,
        "created": one.created.isoformat(timespec="seconds"),
        "went_live": mark.went_live if mark else None,
        "history": mark.history if mark else (),
        "source": mark.source if mark else None,
    }


def _print_table(found: list[ServerIndex]) -> None:
    now = datetime.now(UTC)
    columns = ["index", "live as", "state", "model", "documents", "size", "created", "age"]
    rows = [
        [
            one.name,
            ", ".join(one.aliases),
            _state(one),
            one.fingerprint[:12] or "none",
            f"{one.documents:,}",
            f"{one.bytes / 1e6:,.1f} MB",
            f"{one.created:%Y-%m-%d %H:%M}",
            _age(now - one.created),
        ]
        for one in found
    ]
    print_table(columns, rows, right=("documents", "size", "age"))


def _state(one: ServerIndex) -> str:
    if not one.is_open:
        return "closed"
    if one.health == "red":
        return "red: shards are lost"
    if one.aliases:
        return "live"
    states = {"loading": "unfinished", "ready": "ready", "failed": "failed its checks"}
    return states[one.mark.state] if one.mark else ""


def _age(age: timedelta) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age.total_seconds() >= 2 * seconds:
            return f"{age.total_seconds() / seconds:.0f} {unit}"
    return f"{age.total_seconds():.0f} s"
