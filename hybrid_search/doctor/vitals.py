"""What a doctor looks at, fetched once: the checks are pure functions of it; and what a check finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeVar

from hybrid_search.engines.opensearch.index.aliases import ALL_INDEXES
from hybrid_search.engines.opensearch.index.capabilities import KNN, ServerCapabilities
from hybrid_search.engines.opensearch.index.deployment import record_in
from hybrid_search.engines.opensearch.index.holders import path_of
from hybrid_search.engines.opensearch.index.template import FORMAT_VERSION, settings_of
from hybrid_search.engines.opensearch.index.tower_files import NOTE, companion_of, record_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.curl import Commands
from hybrid_search.engines.opensearch.writing.load_settings import OLD_NOTE
from hybrid_search.errors import AccessDenied, CorruptIndex, IndexNotFound, SearchIndexError, UsageError
from hybrid_search.in_cluster.faults import faults, silence
from hybrid_search.location import Address

__all__ = ["Check", "Finding", "IndexCheck", "IndexVitals", "Severity", "Vitals", "gather"]


Severity = Literal["error", "warning", "note"]
"""Something does not work or documents are at risk; it works, but not as it should; worth knowing, and no fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    :ivar check: the name of the check, for programs.
    :ivar subject: the server, the node or the index.
    :ivar mend: commands that mend it, in order; with a note mostly none.
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
    """One index as the server describes it.

    :ivar settings: flat, by their full names.
    :ivar status: green, yellow or red; closed; unknown.
    :ivar documents: None where they can't be counted.
    :ivar vectors: documents that have one; None where they can't be counted.
    :ivar towers: fingerprint of the towers that the server holds for it, empty without; None where nobody looked.
    :ivar deployment: what is wrong with its towers in the cluster, a few words each; empty where none are deployed.
    :ivar held: settings that a load holds: name -> value before; None for one that was not set.
    :ivar holders: who holds them, for people.
    :ivar silence: why its query tower in the cluster does not encode; empty where it does, or nobody asked.
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
        """What the index says of itself."""
        meta: Json = self.mapping.get("_meta", {})
        return meta

    @property
    def ours(self) -> Json | None:
        """Its settings of ours; None in an index of something else."""
        found: Json | None = self.meta.get("hybrid_search")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """A cluster and some of its indexes.

    :ivar settings: level (``defaults``, ``persistent``, ``transient``) -> the cluster's settings, flat.
    :ivar unassigned: rows of ``_cat/shards``.
    :ivar explanation: why the first of them is nowhere.
    :ivar knn: statistics of the k-NN plugin.
    :ivar pipelines: names of the search pipelines; None where nobody looked. Likewise ``ingest_pipelines``.
    :ivar unanswered: what the server did not tell, with its reason.
    :ivar is_there: whether what was named is there, as far as is known.
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
        """Return a cluster setting as it is in force."""
        for level in ("transient", "persistent", "defaults"):
            if name in self.settings.get(level, {}):
                return str(self.settings[level][name])
        return default

    def set_levels(self, *names: str) -> dict[str, dict[str, None]]:
        """Return the body that takes back what somebody set of these settings; empty if nobody did."""
        return {
            level: cleared
            for level in ("transient", "persistent")
            if (cleared := {name: None for name in names if name in self.settings.get(level, {})})
        }

    @property
    def data_nodes(self) -> int:
        """How many nodes may hold shards."""
        return sum("data" in node.get("roles", ()) for node in self.nodes.values())


def gather(client: Client, address: Address) -> Vitals:
    """Ask a server for all that the checks look at.

    :param address: of an index or alias, to look at that; of a server alone, to look at all indexes of ours on it.
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
    """Asks what may be asked, and remembers what may not."""

    def __init__(self, client: Client) -> None:
        self.unanswered: list[tuple[str, str]] = []
        self._client = client

    def ask(self, path: str, body: Json | None = None, *, none: Any = _NOTHING, **parameters: Any) -> Any:
        """Return the answer, or ``none`` where the user may not ask or the server can't say."""
        try:
            return self._client.call("POST" if body else "GET", path, body, **parameters)
        except IndexNotFound:
            raise
        except SearchIndexError as error:
            if not error.status:
                raise
            if error.status == HTTPStatus.NOT_FOUND:  # as for the list of pipelines where there is none
                return _NOTHING
            self.unanswered.append((path, "not allowed" if isinstance(error, AccessDenied) else str(error.status)))
        return none

    def told(self, what: str, ask: Callable[[Client], T]) -> T | None:
        """Ask something that takes several requests; None where the user may not, or the server can't say."""
        try:
            return ask(self._client)
        except SearchIndexError as error:
            if not error.status:
                raise
            self.unanswered.append((what, "not allowed" if isinstance(error, AccessDenied) else str(error.status)))
        return None


def _names(asker: _Asker, address: Address) -> list[str] | None:
    """Name the indexes to look at; None if the server does not say."""
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
    """Return the settings that loads hold, as they were before, and who these are."""
    try:
        answer = asker.ask(path_of(uuid), none=None)
    except IndexNotFound:
        return {}, ()
    note = (answer or {}).get("_source", {})
    return note.get("before", {}), sorted(str(owner.get("holder")) for owner in note.get("owners", {}).values())


def _deployment(asker: _Asker, name: str, mapping: Json) -> tuple[Sequence[str], str]:
    """Return what is wrong with an index's towers in the cluster, and why the query tower does not encode."""
    try:
        record = record_in({"mappings": mapping})
    except CorruptIndex as error:
        return (str(error),), ""
    if record is None or mapping["_meta"]["hybrid_search"].get("format_version") != FORMAT_VERSION:
        return (), ""
    fusion = settings_of(mapping, name).fusion
    wrong = asker.told(f"the towers of {name} in the cluster", lambda client: faults(client, record, fusion)) or ()
    if wrong or record.state != "ready":  # what is not there need not be asked
        return wrong, ""
    return (), asker.told(f"whether the towers of {name} encode", lambda client: silence(client, record)) or ""


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
