"""``indexes``, ``info``, ``swap``, ``rollback``, ``drop``, ``delete`` and ``repair``: showing and changing indexes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hybrid_search.cli.options import WithOldName, format_option
from hybrid_search.cli.output import facts, print_json, print_jsonl, print_table, say
from hybrid_search.errors import IndexNotFound, UsageError

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.index import ServerIndex

__all__ = [
    "command",
    "delete_command",
    "drop_command",
    "info_command",
    "repair_command",
    "rollback_command",
    "swap_command",
]

_NAMED = 10


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


@click.command("rollback")
@click.argument("location", metavar="LOCATION")
@click.option("--alias", metavar="NAME", help="The alias, where LOCATION is the server alone.")
@click.option(
    "--to",
    "--to-index",
    "to_index",
    cls=WithOldName,
    metavar="INDEX",
    help="Go to this index instead, forward again for example; it must have been finished and checked.",
)
@format_option
def rollback_command(location: str, alias: str | None, to_index: str | None, form: str) -> None:
    """Let an alias stand again for the index that was live before, in one step.

    Each index remembers which were live before it took over: another rollback goes back further. An index that was
    never finished, or failed its checks, is not gone back to. Nothing is deleted.

    \b
    Examples:
      hybrid-search rollback opensearch://localhost:9200/passages
      hybrid-search rollback opensearch://localhost:9200/passages --to passages-000003
    """  # noqa: D301
    from hybrid_search.indexes import roll_back
    from hybrid_search.loading.blue_green import alias_address

    facts(msgspec.to_builtins(roll_back(alias_address(location, alias), to_index)), form)


@click.command("swap")
@click.argument("location", metavar="LOCATION")
@click.option("--alias", metavar="NAME", help="The alias, where LOCATION is the server alone.")
@click.option("--to", "to_index", metavar="INDEX", help="The staged index.  [default: the newest]")
@format_option
def swap_command(location: str, alias: str | None, to_index: str | None, form: str) -> None:
    """Let an alias stand for an index that `load` or `reindex` has made and checked with --stage, in one step.

    \b
    Example:
      hybrid-search load jsonl --path ./my-data --alias passages --to opensearch://localhost:9200 --stage
      hybrid-search swap opensearch://localhost:9200/passages
    """  # noqa: D301
    from hybrid_search.loading.blue_green import alias_address, go_live

    address = alias_address(location, alias)
    moved = go_live(address, to_index or "")
    facts(moved, form)
    if moved["replaced"]:
        say(f"Back to {moved['replaced']}: hybrid-search rollback {address}")


@click.command("drop")
@click.argument("location", metavar="LOCATION")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--live", "also_live", is_flag=True, help="Even if it is what an alias stands for; the alias goes with it."
)
def drop_command(location: str, yes: bool, also_live: bool) -> None:
    """Delete an index, in a folder or on a server. It can't be brought back.

    On a server the towers go too, unless another index was made with the same model.

    \b
    Example:
      hybrid-search drop opensearch://localhost:9200/passages-000001 --yes
    """  # noqa: D301
    from hybrid_search.indexes import drop, to_be_dropped

    what = to_be_dropped(location, also_live=also_live)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{what} would be deleted for good; say --yes")
        click.confirm(f"{what} will be deleted for good. Go on?", abort=True, err=True)
    drop(location)
    say(f"Deleted {what}.")


@click.command("delete")
@click.argument("location", metavar="LOCATION")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@format_option
def delete_command(location: str, ids: tuple[str, ...], form: str) -> None:
    """Delete documents of an index by their ids, in a folder or on a server; - reads the ids from stdin, one a line.

    Ids that are not there are named and do no harm. An id that begins with a dash stands after --.

    \b
    Examples:
      hybrid-search delete ./index note-1 note-2
      hybrid-search delete opensearch://localhost:9200/passages - < ids.txt
    """  # noqa: D301
    from hybrid_search.indexes import delete_documents

    given = [line.rstrip("\r\n") for line in sys.stdin if line.strip()] if ids == ("-",) else ids
    report = delete_documents(location, given)
    if form != "table":
        facts(msgspec.to_builtins(report), form)
        return
    missing = report.not_there
    facts({"deleted": report.deleted, "not there": len(missing), "documents left": report.documents}, form)
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        say(f"Not there: {', '.join(missing[:_NAMED])}{more}")


@click.command("info")
@click.argument("location", metavar="LOCATION|MODEL")
@click.option(
    "--verify",
    is_flag=True,
    help="Read everything and check it against its checksums; of a server's index, the towers stored with it.",
)
@format_option
def info_command(location: str, verify: bool, form: str) -> None:
    """Show what an index or a model holds: sizes, settings, fingerprint.

    \b
    Example:
      hybrid-search info ./index --verify
      hybrid-search info en                     the model that comes with the package
    """  # noqa: D301
    from hybrid_search.models import inspect_index, inspect_model, is_model
    from hybrid_search.opening import is_on_server
    from hybrid_search.towers.shipped import located

    path = located(Path(location))
    try:
        shown = inspect_model(path) if is_model(path) else inspect_index(location, verify=verify)
    except IndexNotFound as error:
        if is_on_server(location) or path.exists():
            raise
        raise IndexNotFound(f"{location}: neither an index nor a model is here; check the path") from error
    facts(shown, form)


@click.command("repair")
@click.argument("location", metavar="FOLDER")
@format_option
def repair_command(location: str, form: str) -> None:
    """Build again what an index in a folder has beside its documents: BM25, k-NN, counts.

    Documents and vectors stay as they are, and nothing is encoded. What a crash left is mended by the next command
    anyhow; this is for what `info --verify` reports.

    \b
    Example:
      hybrid-search repair ./index
    """  # noqa: D301
    from hybrid_search.indexes import repair_index

    facts(repair_index(location), form)
