"""Indexes and the aliases they go by: what there is on a server, which index is live, moving an alias in one step."""

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
"""All but those of the server itself, which answers with a warning where these are asked for too."""

_NOT_FOUND = 404
_TIMED_OUT = 408
_WAITS = 20
_LOOKS = 5
_ASKED = "index.uuid,index.max_result_window,index.default_pipeline,index.final_pipeline"


@dataclass(frozen=True, slots=True)
class Place:
    """An index as it was found at an address.

    :ivar asked: the address that was given, perhaps an alias's.
    :ivar address: the index's own.
    :ivar uuid: tells an index from a later one of the same name.
    :ivar settings: of those that decide whether it is fit to be used, what somebody set; flat.
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
    """One index of ours on a server.

    :ivar bytes: on the disk, copies included.
    :ivar aliases: the names it goes by at the moment; it is live when there are any.
    :ivar mark: its standing behind an alias; None when it was loaded under its own name.
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
    """Find the index that an address, which may be an alias's, stands for.

    :raises IndexNotFound: if there is none.
    :raises UsageError: if an alias stands for several.
    :raises PartialAlias: if an alias shows a part of the index only.
    """
    for _ in range(_LOOKS):
        found = client.call("GET", f"/{address.index}/_settings/{_ASKED}", flat_settings="true")
        if len(found) != 1:
            _standing(client, address.index)  # which complains of a filter first
            raise UsageError(f"{address}: stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
        ((name, held),) = found.items()
        # An alias that moved between the two questions is asked about again: what it hides is part of what it is.
        if name == address.index or name in (_standing(client, address.index) or ()):
            settings = held["settings"]
            return Place(address, address.at(name), settings.pop("index.uuid"), settings)
    raise SearchIndexError(f"{address}: the alias moves faster than it can be looked at; try again")


def check_shows_all(alias: str, name: str, definition: Mapping[str, Any]) -> None:
    """Check that an alias hides nothing of its index.

    Everything here asks the index itself, by its own name, so that no answer mixes two indexes when the alias moves; a
    filter of the alias would then count for nothing, and what it hides would be shown.

    :param definition: the alias as the index describes it.
    :raises PartialAlias: if it has a filter, or routes.
    """
    if "filter" in definition:
        told = msgspec.json.encode(definition["filter"]).decode()
        raise PartialAlias(
            f"{alias}: this alias shows only a part of {name}, by the filter {shortened(told)}, which hybrid-search "
            f"does not apply; name the index {name} and give the condition with each search (`filter`), or remove the "
            f"filter from the alias"
        )
    if routing := sorted(key for key in definition if key.endswith("routing")):
        told = ", ".join(f"{key} {definition[key]!r}" for key in routing)
        raise PartialAlias(
            f"{alias}: this alias shows only a part of {name}, by {told}, which hybrid-search does not follow; name "
            f"the index {name}, or remove the routing from the alias"
        )


@taken_apart("an alias")
def _standing(client: Client, alias: str) -> list[str] | None:
    """Return the indexes that an alias stands for; None where there is no such alias.

    :raises PartialAlias: if it shows a part only of one of them.
    """
    try:
        found = client.call("GET", f"/_alias/{alias}")
    except SearchIndexError as error:
        if error.status != _NOT_FOUND:
            raise
        return None
    for name, held in found.items():
        check_shows_all(alias, name, held["aliases"][alias])
    return sorted(found)


@taken_apart("an alias")
def live_index(client: Client, alias: str) -> str | None:
    """Return the index that an alias stands for; None where there is no such alias.

    :raises IndexExists: if an index, not an alias, has this name.
    :raises UsageError: if the alias stands for several indexes.
    :raises PartialAlias: if it shows a part of the index only: its next index would be shown as a whole.
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
    """Return the names of all indexes on a server, others' too."""
    return frozenset(row["index"] for row in client.call("GET", "/_cat/indices", h="index", format="json"))


@taken_apart("its indexes")
def list_indexes(client: Client) -> list[ServerIndex]:
    """List the indexes that were made by this library, by name."""
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
    """Return the options for the index that is to follow on another: those asked for, else those that it has.

    :param vectors: whether the new index holds any.
    """
    held = held_options(client.call("GET", f"/{live}")[live])
    wanted = asked.asked()
    if not vectors:
        held = {name: held[name] for name in ("shards", "replicas") if name in held}
    if wanted.get("knn_engine") not in (None, held.get("knn_engine")):
        held = {name: value for name, value in held.items() if name not in ("compression", "on_disk")}
    return ServerOptions(**held | wanted)


def create_marked(
    client: Client, name: str, settings: IndexSettings, options: ServerOptions, mark: Mark, towers: str = ""
) -> None:
    """Make an index that says from its first moment on what it is for.

    :param towers: the digest of the files of its towers, which it notes; empty for none.
    :raises IndexExists: if there is one of this name.
    :raises UnsupportedCapability: if the server can't hold such an index.
    """
    body = index_body(settings, options, towers)
    body["mappings"]["_meta"] = marked(body["mappings"]["_meta"], mark)
    make_index(client, name, body)


def make_index(client: Client, name: str, body: Mapping[str, Any]) -> None:
    """Make an index, if the server can hold it.

    :param body: as :func:`index_body` makes it.
    :raises IndexExists: if there is one of this name.
    :raises UnsupportedCapability: if the server can't, or one of its nodes would end at the first vector.
    """
    if vector := body["mappings"]["properties"].get("vector"):
        server = ServerCapabilities.read(client)
        server.check_vectors()
        server.check_knn_engine(client, vector)
    client.call("PUT", f"/{name}", body)


def note_live(client: Client, name: str) -> None:
    """Remember of an index that it is live, if that has not been noted before."""
    mark = mark_of(client, name)
    if mark.alias and not mark.went_live:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        change_mark(client, name, lambda held: held.live_from(moment))


@taken_apart("the index's health")
def settled(client: Client, name: str) -> str:
    """Wait until no shard of an index is being copied, for some minutes at most; returns the index's health."""
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
    """Let an alias stand for another index, in one step: no reader ever finds both, or none.

    :param old: the index that it stands for now; None for a new alias.
    :raises SearchIndexError: if it does not; nothing has changed then.
    :raises PartialAlias: if it shows a part only of the index that it stands for now.
    """
    live_index(client, alias)  # somebody may have given it a filter while the new index was loaded
    actions: list[dict[str, Any]] = [{"add": {"index": new, "alias": alias}}]
    if old is not None:
        actions.insert(0, {"remove": {"index": old, "alias": alias, "must_exist": True}})
    try:
        client.call("POST", "/_aliases", {"actions": actions})
    except SearchIndexError as error:
        if error.status != _NOT_FOUND:
            raise
        if live_index(client, alias) == new:  # sent twice, after an answer that was lost
            return
        raise SearchIndexError(
            f"the alias {alias} no longer stands for {old}, somebody else moved it, and it was left alone; "
            f"look at hybrid-search indexes, and begin again"
        ) from error
    live_index(client, alias)


@taken_apart("the index")
def delete_index(client: Client, name: str) -> bool:
    """Delete an index, and its towers unless another index shares them; returns whether there was one.

    The towers of somebody who may not list the indexes stay: whether others share them is not known then.

    :raises UsageError: if the name is an alias's.
    :raises SearchIndexError: if the index was made by something else, or towers are deployed for it in the cluster,
        which would stay there.
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
    # The towers first: who is killed in between can do it again, as long as there is an index to say whose they are.
    if (fingerprint := ours.get("fingerprint", "")) and _is_alone_with(client, fingerprint, name):
        with contextlib.suppress(CorruptIndex):  # of no model, so it has no towers
            client.call("DELETE", f"/{companion_of(fingerprint)}", ignore_unavailable="true")
    client.call("DELETE", f"/{name}")
    with contextlib.suppress(AccessDenied):  # who never loaded has nothing there
        client.call("DELETE", path_of(uuid), ignore=_NOT_FOUND)
    return True


def _is_alone_with(client: Client, fingerprint: str, name: str) -> bool:
    """Tell whether no other index has these towers; False to somebody who may not list the indexes."""
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
