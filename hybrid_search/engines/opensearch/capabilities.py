"""What a server can do, read once a connection from its version and plugins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hybrid_search.config import Fusion
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.errors import UnsupportedCapability

__all__ = ["OLDEST", "ServerCapabilities"]

Version = tuple[int, int, int]

OLDEST: Version = (2, 19, 0)
"""Hybrid paging, RRF and explanations are there from this version on."""

_FILTER_IN_HYBRID: Version = (3, 0, 0)
_RRF_WEIGHTS: Version = (3, 1, 0)
_NEEDED = ("opensearch-knn", "opensearch-neural-search")


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """A server's version and plugins, and what follows from them.

    :ivar plugins: component name -> version; of those that every node has.
    """

    version: Version
    plugins: Mapping[str, str]

    @classmethod
    def read(cls, client: Client) -> Self:
        """Ask the server.

        :raises UnsupportedCapability: if it is no OpenSearch, or one that is too old.
        """
        told = client.call("GET", "/")["version"]
        if told.get("distribution") != "opensearch":
            raise UnsupportedCapability(f"the server is not OpenSearch but {told.get('distribution', 'unknown')}")
        version = parsed_version(told["number"])
        if version < OLDEST:
            raise UnsupportedCapability(
                f"the server is OpenSearch {told['number']}; hybrid search needs {'.'.join(map(str, OLDEST))} or newer"
            )
        return cls(version, shared_plugins(client.call("GET", "/_cat/plugins", format="json")))

    @property
    def shown_version(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))

    @property
    def filter_in_hybrid(self) -> bool:
        """One filter for all legs, beside the hybrid's queries."""
        return self.version >= _FILTER_IN_HYBRID

    def check_vectors(self) -> None:
        """Check that vectors can be indexed and searched together with texts.

        :raises UnsupportedCapability: naming the plugin that is missing.
        """
        for plugin in _NEEDED:
            if plugin not in self.plugins:
                raise UnsupportedCapability(
                    f"the server has no plugin {plugin} (on every node); install it with opensearch-plugin install"
                )

    def check_fusion(self, fusion: Fusion) -> None:
        """Check that the server can fuse like this.

        :raises UnsupportedCapability: if it can't.
        """
        self.check_vectors()
        if fusion.method == "rrf" and self.version < _RRF_WEIGHTS:
            raise UnsupportedCapability(
                f"OpenSearch {self.shown_version} has no weights for RRF (3.1 does); use the fusion min_max"
            )


def parsed_version(text: str) -> Version:
    """Read ``3.6.0`` or ``3.6.0-SNAPSHOT``."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise UnsupportedCapability(f"the server's version is {text!r}, which can't be read")
    return int(found[1]), int(found[2]), int(found[3])


def shared_plugins(listed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the plugins that every node of the list has."""
    nodes: dict[str, dict[str, str]] = {}
    for row in listed:
        nodes.setdefault(row["name"], {})[row["component"]] = row["version"]
    held = list(nodes.values()) or [{}]
    return {name: version for name, version in held[0].items() if all(name in node for node in held)}
