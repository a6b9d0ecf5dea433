"""The indexes on a server: list them, go back to the one before, drop one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.aliases import (
    ServerIndex,
    list_indexes,
    live_index,
    note_live,
    resolve,
    swap,
)
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.serving.deployment import find_deployment
from hybrid_search.errors import IndexNotFound, SearchIndexError, UsageError

__all__ = ["Rollback", "droppable", "indexes_on", "roll_back"]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback did: the alias stands for ``index`` now."""

    alias: str
    index: str
    replaced: str
    fingerprint: str
    documents: int


def indexes_on(location: str) -> list[ServerIndex]:
    """List the indexes of ours on a server; of a location with an index or alias only those that belong to it.

    :raises SearchIndexError: if the server can't be asked.
    """
    address = Address.parse_server(location)
    with closing(Client(address)) as client:
        found = list_indexes(client)
    name = address.index
    return [one for one in found if not name or name in (one.name, one.mark and one.mark.alias, *one.aliases)]


def roll_back(address: Address, to: str | None = None) -> Rollback:
    """Let an alias stand for the index that was live before the present one, or for a named one.

    Each index remembers which were live before it took over, so another rollback goes back further.

    :param to: an index that was finished; for going forward again.
    :raises IndexNotFound: if there is no such alias, or no index ``to``.
    :raises SearchIndexError: if there is no index to go back to, or it is not fit to be live, or towers are deployed in
        the cluster for the present one and not for it.
    """
    alias = address.index
    with closing(Client(address)) as client:
        live = live_index(client, alias)
        if live is None:
            raise IndexNotFound(f"{address}: no such alias; look at hybrid-search indexes {address.at_server()}")
        indexes = {one.name: one for one in list_indexes(client)}
        target = _named(indexes, to, live) if to else _before(indexes, live, alias)
        if find_deployment(client, live) and not find_deployment(client, target.name):
            raise SearchIndexError(
                f"{live} has its towers in the cluster and {target.name} has not, so searches by text would fail; "
                f"deploy them first: hybrid-search deploy --to {address.at(target.name)}"
            )
        # Before it is left: one that was killed between swap and note would pass for never having been live.
        if live in indexes:
            note_live(client, live)
        swap(client, alias, live, target.name)
    return Rollback(alias, target.name, live, target.fingerprint, target.documents)


def _named(indexes: Mapping[str, ServerIndex], to: str, live: str) -> ServerIndex:
    if to not in indexes:
        raise IndexNotFound(f"{to}: no such index of hybrid-search; there are {', '.join(indexes)}")
    if to == live:
        raise UsageError(f"{to} is live already")
    if why := _unfit(indexes[to]):
        raise SearchIndexError(f"{to} {why}, so it can't go live; choose another index, or load again")
    return indexes[to]


def _before(indexes: Mapping[str, ServerIndex], live: str, alias: str) -> ServerIndex:
    mark = indexes[live].mark if live in indexes else None
    history = mark.history if mark else ()
    for name in history:
        if name in indexes and not _unfit(indexes[name]):
            return indexes[name]
    gone = f"; {', '.join(history)} went before it, and none of them can be used any more" if history else ""
    raise SearchIndexError(f"nothing to roll back to: {live} is the first index that was live as {alias}{gone}")


def _unfit(one: ServerIndex) -> str:
    """Why an index can't be live; empty when it can."""
    if not one.is_open:
        return "is closed"
    if one.health == "red":
        return "has shards that are lost"
    if one.mark is not None and one.mark.state != "ready":
        return "failed its checks" if one.mark.state == "failed" else "is unfinished"
    return ""


def droppable(address: Address, *, also_live: bool = False) -> ServerIndex:
    """Return what an index is that may be deleted.

    :param also_live: even if an alias stands for it.
    :raises IndexNotFound: if there is none.
    :raises UsageError: if the address is an alias's.
    :raises SearchIndexError: if it is live, or not an index of ours.
    """
    with closing(Client(address)) as client:
        if (name := resolve(client, address).address.index) != address.index:
            raise UsageError(f"{address} is an alias of {name}; name the index that is meant")
        found = {one.name: one for one in list_indexes(client)}.get(name)
    if found is None:
        raise SearchIndexError(f"{address}: this index was not made by hybrid-search, so it is left alone")
    if found.aliases and not also_live:
        raise SearchIndexError(
            f"{name} is live as {', '.join(found.aliases)}; roll back first, or say --live to drop it and the alias"
        )
    return found
