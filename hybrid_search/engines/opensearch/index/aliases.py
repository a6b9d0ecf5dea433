"""Indexes and their aliases: listing them, finding the live index, moving an alias atomically."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.index.deployment import record_in
from hybrid_search.engines.opensearch.index.holders import path_of
from hybrid_search.engines.opensearch.index.meta import Mark, change_mark, mark_of, marked, read_mark
from hybrid_search.engines.opensearch.index.template import ServerOptions, held_options, index_body
from hybrid_search.engines.opensearch.index.tower_files import companion_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import shortened, taken_apart
from hybrid_search.errors import (
    AccessDenied,
    CorruptIndex,
    IndexExists,
    IndexNotFound,
    PartialAlias,
    SearchIndexError,
    UsageError,
)
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings

__all__ = [
    "ALL_INDEXES",
    "Place",
    "ServerIndex",
    "check_shows_all",
    "create_marked",
    "delete_index",
    "inherited",
    "list_indexes",
    "live_index",
    "make_index",
    "names_on",
    "note_live",
    "resolve",
    "settled",
    "swap",
]

ALL_INDEXES = "*,-.*"
"""All indexes but the server's own, which would add a warning to the answer."""

_NOT_FOUND = 404
_TIMED_OUT = 408
_WAITS = 20
_LOOKS = 5
_ASKED = "index.uuid,index.max_result_window,index.default_pipeline,index.final_pipeline"


@dataclass(frozen=True, slots=True)
class Place:
    """An index as it was found at an address.

    :ivar asked: the given address, perhaps of an alias.
    :ivar address: the index's own.
    :ivar uuid: distinguishes an index from a later one of the same name.
    :ivar settings: explicitly set values of the settings that decide whether the index is usable; flat.
    """

    asked: Address
    address: Address
    uuid: str
    settings: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def behind_alias(self) -> bool:
        """Whether the index was found through an alias."""
        return self.asked.index != self.address.index


@dataclass(frozen=True, slots=True)
class ServerIndex:
    """An index on a server that was made by this package.

    :ivar bytes: on disk, including replicas.
    :ivar aliases: its current aliases; the index is live if there are any.
    :ivar mark: its role behind an alias; None if it was loaded under its own name.
    """

    name: str
    fingerprint: str
    dimension: int
    documents: int
    bytes: int
    created: datetime
    health: str
    is_open: bool
    aliases: tuple[str, ...]
    mark: Mark | None


@taken_apart("the index and its aliases")
def resolve(client: Client, address: Address) -> Place:
    """Find the index that an address, which may be an alias, stands for.

    :raises IndexNotFound: if there is none.
    :raises UsageError: if an alias stands for several.
    :raises PartialAlias: if an alias has a filter or routing.
    """
    for _ in range(_LOOKS):
        found = client.call("GET", f"/{address.index}/_settings/{_ASKED}", flat_settings="true")
        if len(found) != 1:
            _standing(client, address.index)  # reports a filter first
            raise UsageError(f"{address}: stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
        ((name, answer),) = found.items()
        # If the alias moved between the two requests, try again: its filter belongs to what it shows.
        if name == address.index or name in (_standing(client, address.index) or ()):
            settings = answer["settings"]
            return Place(address, address.at(name), settings.pop("index.uuid"), settings)
    raise SearchIndexError(f"{address}: the alias moves faster than it can be looked at; try again")


def check_shows_all(alias: str, name: str, definition: Mapping[str, Any]) -> None:
    """Check that an alias shows its whole index.

    All requests name the index itself, so that no answer mixes two indexes when the alias moves. A filter of the
    alias would therefore have no effect, and what it hides would be shown.

    :param definition: the alias in the index's description.
    :raises PartialAlias: if it has a filter or routing.
    """
    if "filter" in definition:
        hidden = msgspec.json.encode(definition["filter"]).decode()
        raise PartialAlias(
            f"{alias}: this alias shows only a part of {name}, by the filter {shortened(hidden)}, which hybrid-search "
            f"does not apply; name the index {name} and give the condition with each search (`filter`), or remove the "
            f"filter from the alias"
        )
    if routing := sorted(key for key in definition if key.endswith("routing")):
        hidden = ", ".join(f"{key} {definition[key]!r}" for key in routing)
        raise PartialAlias(
            f"{alias}: this alias shows only a part of {name}, by {hidden}, which hybrid-search does not follow; name "
            f"the index {name}, or remove the routing from the alias"
        )


@taken_apart("an alias")
def _standing(client: Client, alias: str) -> list[str] | None:
    """Return the indexes that an alias stands for; None if there is no such alias.

    :raises PartialAlias: if it has a filter or routing.
    """
    try:
        found = client.call("GET", f"/_alias/{alias}")
    except SearchIndexError as error:
        if error.status != _NOT_FOUND:
            raise
        return None
    for name, answer in found.items():
        check_shows_all(alias, name, answer["aliases"][alias])
    return sorted(found)


@taken_apart("an alias")
def live_index(client: Client, alias: str) -> str | None:
    """Return the index that an alias stands for; None if there is no such alias.

    :raises IndexExists: if there is an index of this name.
    :raises UsageError: if the alias stands for several indexes.
    :raises PartialAlias: if it has a filter or routing, which the alias of the next index would lack.
    """
    found = _standing(client, alias)
    if found is None:
        if client.call("HEAD", f"/{alias}"):
            raise IndexExists(
                f"{alias} is an index, so it can't be an alias too; choose another alias, or drop the index first"
            ) from None
        return None
    if len(found) > 1:
        raise UsageError(f"the alias {alias} stands for {', '.join(found)}; one is wanted: remove the others")
    return found[0]


@taken_apart("its indexes")
def names_on(client: Client) -> frozenset[str]:
    """Return the names of all indexes on a server, including others'."""
    return frozenset(row["index"] for row in client.call("GET", "/_cat/indices", h="index", format="json"))


@taken_apart("its indexes")
def list_indexes(client: Client) -> list[ServerIndex]:
    """List the indexes made by this package, by name."""
    everywhere: dict[str, Any] = {"expand_wildcards": "open,closed"}
    metas = client.call("GET", f"/{ALL_INDEXES}/_mapping", filter_path="*.mappings._meta", **everywhere)
    dates = client.call("GET", f"/{ALL_INDEXES}/_settings/index.creation_date", flat_settings="true", **everywhere)
    aliases = client.call("GET", f"/{ALL_INDEXES}/_alias", **everywhere)
    columns = "index,status,health,docs.count,store.size"
    rows = {row["index"]: row for row in client.call("GET", "/_cat/indices", h=columns, format="json", bytes="b")}
    found = []
    for name in sorted(metas.keys() & dates.keys() & aliases.keys() & rows.keys()):
        meta = metas[name]["mappings"]["_meta"]
        if "hybrid_search" in meta:
            created = int(dates[name]["settings"]["index.creation_date"])
            found.append(_described(name, meta, created, tuple(sorted(aliases[name]["aliases"])), rows[name]))
    return found


@taken_apart("the index's settings")
def inherited(client: Client, live: str, asked: ServerOptions, *, vectors: bool) -> ServerOptions:
    """Return the options of an index that replaces another: those requested, else the live index's.

    :param vectors: whether the new index has vectors.
    """
    existing = held_options(client.call("GET", f"/{live}")[live])
    requested = asked.asked()
    if not vectors:
        existing = {name: existing[name] for name in ("shards", "replicas") if name in existing}
    if requested.get("knn_engine") not in (None, existing.get("knn_engine")):
        existing = {name: value for name, value in existing.items() if name not in ("compression", "on_disk")}
    return ServerOptions(**existing | requested)


def create_marked(
    client: Client, name: str, settings: IndexSettings, options: ServerOptions, mark: Mark, towers: str = ""
) -> None:
    """Create an index that is marked as belonging to an alias from the start.

    :param towers: digest of its towers' files, recorded in the index; empty for none.
    :raises IndexExists: if there is an index of this name.
    :raises UnsupportedCapability: if the server can't have such an index.
    """
    body = index_body(settings, options, towers)
    body["mappings"]["_meta"] = marked(body["mappings"]["_meta"], mark)
    make_index(client, name, body)


def make_index(client: Client, name: str, body: Mapping[str, Any]) -> None:
    """Create an index, if the server supports it.

    :param body: as :func:`index_body` returns it.
    :raises IndexExists: if there is an index of this name.
    :raises UnsupportedCapability: if the server can't, or a node would crash at the first vector.
    """
    if vector := body["mappings"]["properties"].get("vector"):
        server = ServerCapabilities.read(client)
        server.check_vectors()
        server.check_knn_engine(client, vector)
    client.call("PUT", f"/{name}", body)


def note_live(client: Client, name: str) -> None:
    """Record the time when an index became live, unless that was recorded before."""
    mark = mark_of(client, name)
    if mark.alias and not mark.went_live:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        change_mark(client, name, lambda mark: mark.live_from(moment))


@taken_apart("the index's health")
def settled(client: Client, name: str) -> str:
    """Wait until no shard of an index is being copied, for some minutes at most; return the index's health."""
    for _ in range(_WAITS):
        try:
            # The server answers after 30 s at the latest.
            answer = client.call("GET", f"/_cluster/health/{name}", wait_for_no_initializing_shards="true")
            return str(answer["status"])
        except SearchIndexError as error:
            if error.status != _TIMED_OUT:
                raise
    return str(client.call("GET", f"/_cluster/health/{name}")["status"])


def swap(client: Client, alias: str, old: str | None, new: str) -> None:
    """Move an alias to another index atomically: it never stands for both, or none.

    :param old: the index that it stands for now; None for a new alias.
    :raises SearchIndexError: if it stands for another index; nothing is changed then.
    :raises PartialAlias: if it has a filter or routing.
    """
    live_index(client, alias)  # a filter may have been added while the new index was loaded
    actions: list[dict[str, Any]] = [{"add": {"index": new, "alias": alias}}]
    if old is not None:
        actions.insert(0, {"remove": {"index": old, "alias": alias, "must_exist": True}})
    try:
        client.call("POST", "/_aliases", {"actions": actions})
    except SearchIndexError as error:
        if error.status != _NOT_FOUND:
            raise
        if live_index(client, alias) == new:  # the request was sent twice, as its answer was lost
            return
        raise SearchIndexError(
            f"the alias {alias} no longer stands for {old}, somebody else moved it, and it was left alone; "
            f"look at hybrid-search indexes, and begin again"
        ) from error
    live_index(client, alias)


@taken_apart("the index")
def delete_index(client: Client, name: str) -> bool:
    """Delete an index, and its towers unless another index uses them; return whether it existed.

    Without the right to list indexes the towers stay, as other indexes may use them.

    :raises UsageError: if the name is an alias.
    :raises SearchIndexError: if the index was made by something else, or if towers are deployed for it in the cluster,
        which would remain there.
    """
    try:
        found = client.call("GET", f"/{name}/_mapping")
    except IndexNotFound:
        return False
    if name not in found:
        raise UsageError(f"{name} is an alias of {', '.join(sorted(found))}; name the index that is meant")
    ours = found[name]["mappings"].get("_meta", {}).get("hybrid_search")
    if ours is None:
        raise SearchIndexError(f"{name}: this index was not made by hybrid-search, so it is left alone")
    if record_in(found[name]) is not None:
        raise SearchIndexError(
            f"{name}: towers are deployed for it in the cluster; take them away first, with hybrid-search undeploy"
        )
    uuid = client.call("GET", f"/{name}/_settings/index.uuid", flat_settings="true")[name]["settings"]["index.uuid"]
    # The towers first: if this is killed in between, it can be repeated, as the index still names its towers.
    if (fingerprint := ours.get("fingerprint", "")) and _is_alone_with(client, fingerprint, name):
        with contextlib.suppress(CorruptIndex):  # an invalid fingerprint, so there are no towers
            client.call("DELETE", f"/{companion_of(fingerprint)}", ignore_unavailable="true")
    client.call("DELETE", f"/{name}")
    with contextlib.suppress(AccessDenied):  # a user who may not read this never loaded, and left nothing there
        client.call("DELETE", path_of(uuid), ignore=_NOT_FOUND)
    return True


def _is_alone_with(client: Client, fingerprint: str, name: str) -> bool:
    """Return whether no other index uses these towers; False without the right to list indexes."""
    try:
        return all(one.fingerprint != fingerprint for one in list_indexes(client) if one.name != name)
    except AccessDenied:
        return False


def _described(
    name: str, meta: Mapping[str, Any], created: int, aliases: tuple[str, ...], row: Mapping[str, Any]
) -> ServerIndex:
    ours = meta["hybrid_search"]
    return ServerIndex(
        name=name,
        fingerprint=str(ours.get("fingerprint", "")),
        dimension=int(ours.get("dimension", 0)),
        documents=int(row["docs.count"] or 0),
        bytes=int(row["store.size"] or 0),
        created=datetime.fromtimestamp(created / 1_000, UTC),
        health=str(row["health"] or "unknown"),
        is_open=row["status"] == "open",
        aliases=aliases,
        mark=read_mark(meta),
    )
