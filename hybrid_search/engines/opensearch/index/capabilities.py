"""What a server can do, derived from its version, plugins and settings, and the substitutes for what it can't."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.errors import AccessDenied, UnsupportedCapability
from hybrid_search.settings.index import Fusion, Normalisation

__all__ = [
    "OLDEST",
    "PLUGINS",
    "ROOT",
    "SETTINGS",
    "Ability",
    "ServerCapabilities",
    "without_native_libraries",
]

Version = tuple[int, int, int]

OLDEST: Version = (2, 19, 0)
"""The first version with paging of hybrid queries, RRF and explanations."""

Request = tuple[str, dict[str, Any]]

ROOT: Request = ("/", {})
PLUGINS: Request = ("/_nodes/plugins", {"filter_path": "nodes.*.name,nodes.*.plugins.name,nodes.*.plugins.version"})
SETTINGS: Request = (
    "/_cluster/settings",
    {"include_defaults": "true", "filter_path": "*.plugins.neural_search.hybrid"},
)
NODES: Request = ("/_nodes/os", {"filter_path": "nodes.*.name,nodes.*.build_type,nodes.*.os.name"})
"""The requests, as (path, parameters); the settings are needed only if :attr:`ServerCapabilities.has_switch`."""

KNN = "opensearch-knn"
NEURAL = "opensearch-neural-search"
ML = "opensearch-ml"

FUSION_SETTING = "plugins.neural_search.hybrid.fusion.enabled"
_FUSION_IN_QUERY: Version = (3, 10, 0)


@dataclass(frozen=True, slots=True)
class Ability:
    """A feature of the server.

    :ivar has: whether the server has it.
    :ivar substitute: what is done instead if it is missing; a remark, such as a version, if it is there.
    """

    name: str
    has: bool
    substitute: str


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """A server's version and plugins, and what it can do accordingly.

    :ivar plugins: component name -> version, of the plugins that every node has.
    :ivar fusion_switched_on: whether the cluster allows a fusion inside a query.
    :ivar plugins_known: False if the user may not list the plugins; then all are assumed to be installed, and the
        server refuses what it can't do.
    """

    version: Version
    plugins: Mapping[str, str]
    fusion_switched_on: bool = False
    plugins_known: bool = True

    @classmethod
    @taken_apart("its version and plugins")
    def read(cls, client: Client) -> Self:
        """Read a server's capabilities.

        :raises UnsupportedCapability: if it is no OpenSearch, one that is too old, or Amazon's OpenSearch Serverless,
            which allows neither document ids nor refreshes.
        """
        if client.connection.aws_service == "aoss" and client.connection.aws_region:
            raise UnsupportedCapability(
                "OpenSearch Serverless (aws_service 'aoss') takes no document ids and no refresh, so a load could be "
                "neither repeated nor committed; use an OpenSearch Service domain (aws_service 'es')"
            )
        root = client.call("GET", ROOT[0])
        try:
            plugins = client.call("GET", PLUGINS[0], **PLUGINS[1])
        except AccessDenied:  # the user may only search
            return cls.of(root, None)
        server = cls.of(root, plugins)
        return server.with_settings(client.call("GET", SETTINGS[0], **SETTINGS[1])) if server.has_switch else server

    @classmethod
    def of(cls, root: Mapping[str, Any], plugins: Mapping[str, Any] | None) -> Self:
        """Parse a server's answers to :data:`ROOT` and :data:`PLUGINS` (None if the latter was denied).

        :raises UnsupportedCapability: if it is no OpenSearch, or one that is too old.
        """
        build = root.get("version", {})
        if build.get("distribution") != "opensearch":
            raise UnsupportedCapability(f"the server is not OpenSearch but {build.get('distribution', 'unknown')}")
        version = parsed_version(build["number"])
        if version < OLDEST:
            raise UnsupportedCapability(
                f"the server is OpenSearch {build['number']}; hybrid search needs {'.'.join(map(str, OLDEST))} or newer"
            )
        return cls(version, shared_plugins(plugins or {}), plugins_known=plugins is not None)

    def with_settings(self, answer: Mapping[str, Any]) -> Self:
        """Return a copy with the answer to :data:`SETTINGS`."""
        value: Any = None
        for level in ("defaults", "persistent", "transient"):
            found: Any = answer.get(level, {})
            for part in FUSION_SETTING.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
            value = value if found is None else found
        return replace(self, fusion_switched_on=str(value).lower() == "true")

    @property
    def has_switch(self) -> bool:
        """Whether the server has the setting that allows a fusion inside a query."""
        return self.version >= _FUSION_IN_QUERY

    @property
    def shown_version(self) -> str:
        """The version as text, such as ``3.6.0``."""
        return ".".join(map(str, self.version))

    @property
    def filter_in_hybrid(self) -> bool:
        """Whether a hybrid query takes one filter for all legs."""
        return self.version >= (3, 0, 0)

    @property
    def rrf_weights(self) -> bool:
        """Whether fusion by ranks takes a weight for each leg."""
        return self.version >= (3, 1, 0)

    @property
    def lower_bounds(self) -> bool:
        """Whether min-max normalisation takes a lower bound instead of the least score."""
        return self.version >= (3, 0, 0)

    @property
    def z_score(self) -> bool:
        """Whether scores can be normalised to standard scores."""
        return self.version >= (3, 0, 0)

    @property
    def base64_vectors(self) -> bool:
        """Whether a vector may be sent as base64 of little-endian float32."""
        return self.version >= (3, 8, 0)

    @property
    def fusion_in_query(self) -> bool:
        """Whether the fusion may be inside the query instead of a search pipeline: supported and switched on."""
        return self.has_switch and self.fusion_switched_on

    @property
    def encodes(self) -> bool:
        """Whether towers can be deployed in the cluster (ml-commons)."""
        return ML in self.plugins

    def has_plugin(self, name: str) -> bool:
        """Return whether every node has a plugin; true if the plugins are not known."""
        return name in self.plugins or not self.plugins_known

    def check_vectors(self) -> None:
        """Check that vectors can be indexed and searched together with texts.

        :raises UnsupportedCapability: naming the plugin that is missing.
        """
        for plugin in (KNN, NEURAL):
            if not self.has_plugin(plugin):
                raise UnsupportedCapability(
                    f"the server has no plugin {plugin} (on every node); install it with opensearch-plugin install, or "
                    f"use the official distribution, which has it (hybrid-search doctor tells more)"
                )

    def check_knn_engine(self, client: Client, vector: Mapping[str, Any]) -> None:
        """Check that all nodes have the native libraries that a vector field needs, before the first vector is indexed.

        A node without them crashes at the first use, and again at each restart with that data.

        :param vector: the field's mapping.
        :raises UnsupportedCapability: if a node is known to lack them.
        """
        needed = _needs_native(vector)
        if not needed:
            return
        try:
            nodes = client.call("GET", NODES[0], **NODES[1]).get("nodes", {})
            stats = client.call("GET", "/_plugins/_knn/stats/load_success_count").get("nodes", {})
        except AccessDenied:
            return
        bare = without_native_libraries(nodes, stats)
        if bare:
            raise UnsupportedCapability(
                f"{needed} needs the native libraries of the k-NN plugin, which the node {bare[0]} does not have (it "
                f"is put together from Maven's artifacts, as that of make opensearch is): it would end at the first "
                f"vector, and at each start from then on. Leave the option out, or use the official distribution"
            )

    def check_fusion(self, fusion: Fusion) -> None:
        """Check that the server supports a fusion.

        :raises UnsupportedCapability: naming what the server lacks.
        """
        self.check_vectors()
        if fusion.method not in self.fusion_methods:
            _, missing = self._fusion_needs[fusion.method]
            raise UnsupportedCapability(f"OpenSearch {self.shown_version} has no {missing}; use the fusion min_max")

    @property
    def _fusion_needs(self) -> Mapping[Normalisation, tuple[bool, str]]:
        """Method -> whether the server has what it needs, and what that is."""
        return {
            "rrf": (self.rrf_weights, "weights for RRF (3.1 has)"),
            "z_score": (self.z_score, "z_score (3.0 has)"),
            "min_max_from_zero": (self.lower_bounds, "lower bounds for min_max (3.0 has)"),
        }

    @property
    def fusion_methods(self) -> tuple[Normalisation, ...]:
        """The methods of a fusion that the server has."""
        needs = self._fusion_needs
        return tuple(method for method in get_args(Normalisation) if needs.get(method, (True,))[0])

    def abilities(self) -> list[Ability]:
        """List the features with their substitutes, for people."""
        return [
            _ability("k-NN plugin", self.has_plugin(KNN), self.plugins.get(KNN, ""), "no vectors: BM25 only"),
            _ability("neural-search plugin", self.has_plugin(NEURAL), self.plugins.get(NEURAL, ""), "no hybrid search"),
            _ability("ml-commons plugin", self.encodes, self.plugins.get(ML, ""), "texts are encoded by this program"),
            _ability("filter inside hybrid (3.0)", self.filter_in_hybrid, "", "the filter stands in each leg"),
            _ability("lower bounds for min_max (3.0)", self.lower_bounds, "", "refused: use the fusion min_max"),
            _ability("z_score (3.0)", self.z_score, "", "refused: use the fusion min_max"),
            _ability("weights for RRF (3.1)", self.rrf_weights, "", "refused: use the fusion min_max"),
            _ability("base64 vectors (3.8)", self.base64_vectors, "", "vectors are sent as lists of numbers"),
            _ability(
                "fusion inside the query (3.10, switched on)",
                self.fusion_in_query,
                "",
                "the search pipeline travels in each request",
            ),
        ]


def without_native_libraries(nodes: Mapping[str, Any], stats: Mapping[str, Any]) -> list[str]:
    """Return the names of the nodes that are known to lack the native libraries for k-NN.

    The official distributions contain them: tar, rpm and deb for Linux, zip for Windows. A zip on another system was
    assembled from Maven's artifacts, which don't.

    :param nodes: ``nodes`` of the answer to :data:`NODES`.
    :param stats: ``nodes`` of the k-NN plugin's statistics. A node that has loaded a graph (``load_success_count``) has
        the libraries; ``faiss_initialized`` proves nothing, as an empty index with such a field sets it.
    """
    return [
        str(node.get("name", id))
        for id, node in sorted(nodes.items())
        if node.get("build_type") == "zip"
        and "windows" not in str(node.get("os", {}).get("name", "")).lower()
        and not stats.get(id, {}).get("load_success_count")
    ]


def _needs_native(vector: Mapping[str, Any]) -> str:
    """Return the option of a vector field that needs native libraries; empty if it needs none."""
    if vector.get("method", {}).get("engine") == "faiss":
        return "the k-NN engine faiss"
    if vector.get("compression_level") == "32x":
        return "the compression 32x"
    return ""


def _ability(name: str, has: bool, how: str, substitute: str) -> Ability:
    return Ability(name, has, how if has else substitute)


def parsed_version(text: str) -> Version:
    """Parse ``3.6.0`` or ``3.6.0-SNAPSHOT``."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise UnsupportedCapability(f"the server's version is {text!r}, which can't be read")
    return int(found[1]), int(found[2]), int(found[3])


def shared_plugins(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> version of the plugins that every node has, from an answer to :data:`PLUGINS`."""
    by_node = [
        {plugin["name"]: plugin["version"] for plugin in node.get("plugins", ())}
        for node in answer.get("nodes", {}).values()
    ] or [{}]
    return {name: version for name, version in by_node[0].items() if all(name in node for node in by_node)}
