"""Finding a server: the one of OPENSEARCH_URL, the official image in Docker, or a node put together from Maven."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from node.home import VERSION
from node.maven import Unavailable
from node.process import LocalNode

__all__ = ["IMAGE", "Server", "find_server"]

IMAGE = f"opensearchproject/opensearch:{VERSION}"


@dataclass(frozen=True)
class Server:
    """A running server.

    :ivar url: as in ``http://127.0.0.1:9200``.
    :ivar source: where it came from, for people.
    :ivar stop: ends it, unless it is somebody else's.
    """

    url: str
    source: str
    stop: Callable[[], None]

    @property
    def location(self) -> str:
        """The URL as an index location without the index's name."""
        return self.url.replace("https://", "opensearchs://").replace("http://", "opensearch://")

    def describe(self) -> str:
        """Name the source, the version and the plugins' versions."""
        version = _get(f"{self.url}/")["version"]["number"]
        plugins = sorted({f"{p['component']} {p['version']}" for p in _get(f"{self.url}/_cat/plugins?format=json")})
        return f"OpenSearch {version} at {self.url}, {self.source}; {', '.join(plugins)}"


def find_server(*, port: int | None = None) -> Server:
    """Return a running server.

    :param port: of a node that is started for this; any free one when None.
    :raises Unavailable: if there is none to be had, with the reason of each way.
    """
    if url := os.environ.get("OPENSEARCH_URL"):
        return Server(url.rstrip("/"), "given by OPENSEARCH_URL", lambda: None)
    reasons = []
    for start in (_in_docker, _from_maven):
        try:
            return start(port)
        except Unavailable as error:
            reasons.append(str(error))
    raise Unavailable("no OpenSearch server: " + "; ".join(reasons))


def _in_docker(port: int | None) -> Server:
    try:
        import docker
        from testcontainers.opensearch import OpenSearchContainer
    except ImportError as error:
        raise Unavailable(f"testcontainers is not installed ({error.name})") from error
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        raise Unavailable("no Docker engine answers") from error
    container = OpenSearchContainer(IMAGE, security_enabled=False)
    if port:
        container.with_bind_ports(9200, port)
    container.start()
    host, port = container.get_container_host_ip(), container.get_exposed_port(9200)
    return Server(f"http://{host}:{port}", f"in Docker from {IMAGE}", container.stop)


def _from_maven(port: int | None) -> Server:
    node = LocalNode(port=port)
    return Server(node.url, f"a node of Maven artifacts (process {node.pid})", node.stop)


def _get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
