"""Fetches the state of a server that the doctor's checks, pure functions, examine; and the type of their findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeVar

from hybrid_search.engines.opensearch.index import (
    ALL_INDEXES,
    FORMAT_VERSION,
    KNN,
    NOTE,
    ServerCapabilities,
    companion_of,
    path_of,
    record_in,
    record_of,
    settings_of,
)
from hybrid_search.engines.opensearch.transport import Client, Commands
from hybrid_search.engines.opensearch.writing import OLD_NOTE
from hybrid_search.errors import AccessDenied, CorruptIndex, IndexNotFound, SearchIndexError, UsageError
from hybrid_search.in_cluster.faults import faults, silence
from hybrid_search.location import Address

__all__ = ["Check", "Finding", "IndexCheck", "IndexVitals", "Json", "Severity", "Vitals", "gather"]


Severity = Literal["error", "warning", "note"]
"""``error``: something fails or documents are at risk; ``warning``: it works, but not well; ``note``: no fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    :ivar check: the check's name, for programs.
    :ivar subject: the server, node or index concerned.
    :ivar fault: what is wrong, for people.
    :ivar mend: commands that repair it, in order; may be empty for a note.
    """

    check: str
    severity: Severity
    subject: str
    fault: str
    mend: tuple[str, ...] = ()


Json = Mapping[str, Any]
T = TypeVar("T")

_NODE_PARTS = "nodes.*.name,nodes.*.version,nodes.*.roles,nodes.*.plugins.name,nodes.*.plugins.version"
_STATS_PARTS = "nodes.*.name,nodes.*.breakers,nodes.*.fs.data"
_KNN_PARTS = "circuit_breaker_triggered,nodes.*.graph_memory_usage_percentage"
_NOTHING: Json = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexVitals:
    """The state of one index.

    :ivar settings: full name -> value.
    :ivar status: ``green``, ``yellow``, ``red``, ``closed`` or ``unknown``.
    :ivar documents: number of documents; None if they can't be counted.
    :ivar vectors: number of documents with a vector; None if they can't be counted.
    :ivar towers: fingerprint of the towers stored for it, empty if there are none; None if it was not fetched.
    :ivar deployment: faults of its towers in the cluster, a few words each; empty if there are none.
    :ivar silence: why its query tower in the cluster does not encode; empty if it does, or was not asked.
    :ivar held: settings that a load has changed: name -> previous value, None if it was not set.
    :ivar holders: names of the loads that changed them.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    mapping: Json = field(default_factory=dict)
    aliases: Json = field(default_factory=dict)
    status: str = "green"
    documents: int | None = None
    vectors: int | None = None
    towers: str | None = None
    deployment: Sequence[str] = ()
    silence: str = ""
    held: Mapping[str, str | None] = field(default_factory=dict)
    holders: Sequence[str] = ()

    @property
    def meta(self) -> Json:
        """The mapping's ``_meta``."""
        meta: Json = self.mapping.get("_meta", {})
        return meta

    @property
    def ours(self) -> Json | None:
        """Our settings in ``_meta``; None in an index that we did not create."""
        found: Json | None = self.meta.get("hybrid_search")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The state of a cluster and of some of its indexes.

    :ivar settings: level (``defaults``, ``persistent``, ``transient``) -> full name -> value of cluster settings.
    :ivar unassigned: rows of ``_cat/shards`` for shards that are on no node.
    :ivar explanation: the server's explanation for the first of them.
    :ivar knn: statistics of the k-NN plugin.
    :ivar pipelines: names of the search pipelines; None if they were not fetched. Likewise ``ingest_pipelines``.
    :ivar unanswered: (request, reason) of each request that was refused.
    :ivar is_there: False if the named index or alias does not exist.
    """

    commands: Commands
    server: ServerCapabilities
    nodes: Json = field(default_factory=dict)
    stats: Json = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    health: Json = field(default_factory=dict)
    unassigned: Sequence[Json] = ()
    explanation: Json = field(default_factory=dict)
    knn: Json = field(default_factory=dict)
    pipelines: frozenset[str] | None = None
    ingest_pipelines: frozenset[str] | None = None
    indexes: Sequence[IndexVitals] = ()
    unanswered: Sequence[tuple[str, str]] = ()
    is_there: bool = True

    def setting(self, name: str, default: str = "") -> str:
        """Return the effective value of a cluster setting."""
        for level in ("transient", "persistent", "defaults"):
            if name in self.settings.get(level, {}):
                return str(self.settings[level][name])
        return default

    def set_levels(self, *names: str) -> dict[str, dict[str, None]]:
        """Return the request body that resets those of these settings that were set; empty if none was."""
        return {
            level: cleared
            for level in ("transient", "persistent")
            if (cleared := {name: None for name in names if name in self.settings.get(level, {})})
        }

    @property
    def data_nodes(self) -> int:
        """Number of nodes that can hold shards."""
        return sum("data" in node.get("roles", ()) for node in self.nodes.values())


def gather(client: Client, address: Address) -> Vitals:
    """Fetch everything that the checks examine.

    :param address: of an index or alias, to check that one; of a server, to check all indexes of ours on it.
    :raises SearchIndexError: if the server can't be reached.
    :raises UnsupportedCapability: if it is no OpenSearch, or one that is too old.
    """
    server = ServerCapabilities.read(client)
    commands = Commands(address, client.connection)
    asker = _Asker(client)
    health = asker.ask("/_cluster/health", level="indices")
    shards = asker.ask("/_cat/shards", format="json", h="index,shard,prirep,state,unassigned.reason")
    unassigned = [row for row in shards or () if row["state"] == "UNASSIGNED"]
    knn = asker.ask("/_plugins/_knn/stats", filter_path=_KNN_PARTS) if KNN in server.plugins else _NOTHING
    pipelines = asker.ask("/_search/pipeline", none=None)
    ingest = asker.ask("/_ingest/pipeline", none=None)
    names = _names(asker, address)
    return Vitals(
        commands=commands,
        server=server,
        nodes=asker.ask("/_nodes", filter_path=_NODE_PARTS).get("nodes", {}),
        stats=asker.ask("/_nodes/stats/breaker,fs", filter_path=_STATS_PARTS).get("nodes", {}),
        settings=asker.ask("/_cluster/settings", include_defaults="true", flat_settings="true"),
        health=health,
        unassigned=unassigned,
        explanation=asker.ask("/_cluster/allocation/explain") if unassigned else _NOTHING,
        knn=knn,
        pipelines=None if pipelines is None else frozenset(pipelines),
        ingest_pipelines=None if ingest is None else frozenset(ingest),
        indexes=[_index(asker, name, health) for name in names or ()],
        unanswered=asker.unanswered,
        is_there=names is None or bool(names) or not address.index,
    )


class _Asker:
    """Sends requests, and collects those that the server refuses instead of raising."""

    def __init__(self, client: Client) -> None:
        self.unanswered: list[tuple[str, str]] = []
        self._client = client

    def ask(self, path: str, body: Json | None = None, *, none: Any = _NOTHING, **parameters: Any) -> Any:
        """Return the answer; ``none`` if the request is refused."""
        try:
            return self._client.call("POST" if body else "GET", path, body, **parameters)
        except IndexNotFound:
            raise
        except SearchIndexError as error:
            if not error.status:
                raise
            if error.status == HTTPStatus.NOT_FOUND:  # e.g. the list of pipelines, if there are none
                return _NOTHING
            self.unanswered.append((path, "not allowed" if isinstance(error, AccessDenied) else str(error.status)))
        return none

    def result_of(self, what: str, ask: Callable[[Client], T]) -> T | None:
        """Call a function that sends several requests; None if one of them is refused."""
        try:
            return ask(self._client)
        except SearchIndexError as error:
            if not error.status:
                raise
            self.unanswered.append((what, "not allowed" if isinstance(error, AccessDenied) else str(error.status)))
        return None


def _names(asker: _Asker, address: Address) -> list[str] | None:
    """Return the names of the indexes to check; None if the request is refused."""
    try:
        if address.index:
            found = asker.ask(f"/{address.index}/_settings/index.uuid", none=None, expand_wildcards="all")
        else:
            parts = "*.mappings._meta.hybrid_search.format_version"
            found = asker.ask(f"/{ALL_INDEXES}/_mapping", none=None, filter_path=parts, expand_wildcards="open,closed")
    except IndexNotFound:
        return []
    return None if found is None else sorted(found)


def _index(asker: _Asker, name: str, health: Json) -> IndexVitals:
    settings = asker.ask(f"/{name}/_settings", flat_settings="true").get(name, {}).get("settings", {})
    mapping = asker.ask(f"/{name}/_mapping").get(name, {}).get("mappings", {})
    ours = mapping.get("_meta", {}).get("hybrid_search") or {}
    dimension, fingerprint = ours.get("dimension", 0), str(ours.get("fingerprint", ""))
    status = health.get("indices", {}).get(name, {}).get("status", "unknown")
    is_open = settings.get("index.verified_before_close") != "true"
    documents = asker.ask(f"/{name}/_count").get("count") if is_open else None
    vectors = None
    if is_open and dimension:
        vectors = asker.ask(f"/{name}/_count", {"query": {"exists": {"field": "vector"}}}).get("count")
    deployment, silence = _deployment(asker, name, mapping) if is_open and dimension else ((), "")
    held, holders = _held(asker, settings.get("index.uuid", ""))
    return IndexVitals(
        name=name,
        settings=settings,
        mapping=mapping,
        aliases=asker.ask(f"/{name}/_alias").get(name, {}).get("aliases", {}),
        status=status if is_open else "closed",
        documents=documents,
        vectors=vectors,
        towers=_towers_of(asker, fingerprint, mapping) if dimension and fingerprint else None,
        deployment=deployment,
        silence=silence,
        held={**mapping.get("_meta", {}).get(OLD_NOTE, {}), **held},
        holders=holders,
    )


def _held(asker: _Asker, uuid: str) -> tuple[Mapping[str, str | None], Sequence[str]]:
    """Return the settings that loads have changed, with their previous values, and the names of these loads."""
    try:
        answer = asker.ask(path_of(uuid), none=None)
    except IndexNotFound:
        return {}, ()
    note = (answer or {}).get("_source", {})
    return note.get("before", {}), sorted(str(owner.get("holder")) for owner in note.get("owners", {}).values())


def _deployment(asker: _Asker, name: str, mapping: Json) -> tuple[Sequence[str], str]:
    """Return the faults of an index's towers in the cluster, and why the query tower does not encode."""
    try:
        record = record_in({"mappings": mapping})
    except CorruptIndex as error:
        return (str(error),), ""
    if record is None or mapping["_meta"]["hybrid_search"].get("format_version") != FORMAT_VERSION:
        return (), ""
    fusion = settings_of(mapping, name).fusion
    wrong = asker.result_of(f"the towers of {name} in the cluster", lambda client: faults(client, record, fusion)) or ()
    if wrong or record.state != "ready":  # towers that are incomplete can't encode
        return wrong, ""
    return (), asker.result_of(f"whether the towers of {name} encode", lambda client: silence(client, record)) or ""


def _towers_of(asker: _Asker, fingerprint: str, mapping: Json) -> str | None:
    try:
        record = record_of(str(mapping.get("_meta", {}).get(NOTE, "")))
        answer = asker.ask(f"/{companion_of(fingerprint)}/_mget", {"ids": [record]}, none=None)
    except (IndexNotFound, CorruptIndex, UsageError):
        return ""
    if answer is None:
        return None
    return str(answer["docs"][0].get("_source", {}).get("fingerprint", ""))


Check = Callable[[Vitals], Iterator[Finding]]
IndexCheck = Callable[[Vitals, IndexVitals], Iterator[Finding]]
