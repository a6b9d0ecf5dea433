"""Finding a server: the one of OPENSEARCH_URL, the official image in Docker, or a node put together from Maven."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from node.home import VERSION
from node.maven import Unavailable
from node.ml_home import ML_SETTINGS, ml_home
from node.process import LocalNode, wait_until_healthy

__all__ = ["IMAGE", "Server", "find_server"]

IMAGE = f"opensearchproject/opensearch:{VERSION}"

_DOCKER_SOCKET = "/var/run/docker.sock"
_CONTAINER = {
    "discovery.type": "single-node",
    "DISABLE_SECURITY_PLUGIN": "true",
    "DISABLE_INSTALL_DEMO_CONFIG": "true",
    "OPENSEARCH_JAVA_OPTS": "-Xms512m -Xmx512m",
}


@dataclass(frozen=True)
class Server:
    """A running server.

    :ivar url: as in ``http://127.0.0.1:9200``.
    :ivar source: where it came from, for people.
    :ivar stop: ends it, unless it is somebody else's.
    :ivar check_alive: raises :class:`Unavailable` if it has ended, where that can be known.
    """

    url: str
    source: str
    stop: Callable[[], None]
    check_alive: Callable[[], None] = lambda: None

    @property
    def location(self) -> str:
        """The URL as an index location without the index's name."""
        return self.url.replace("https://", "opensearchs://").replace("http://", "opensearch://")

    def describe(self) -> str:
        """Name the source, the version and the plugins' versions."""
        version = _get(f"{self.url}/")["version"]["number"]
        plugins = sorted({f"{p['component']} {p['version']}" for p in _get(f"{self.url}/_cat/plugins?format=json")})
        return f"OpenSearch {version} at {self.url}, {self.source}; {', '.join(plugins)}"


def find_server(*, port: int | None = None, ml: bool = False) -> Server:
    """Return a running server.

    :param port: of a node that is started for this; any free one when None.
    :param ml: with ml-commons, and settings that let towers in. The official image always has it.
    :raises Unavailable: if there is none to be had, with the reason of each way.
    """
    if url := os.environ.get("OPENSEARCH_URL"):
        return Server(url.rstrip("/"), "given by OPENSEARCH_URL", lambda: None)
    if port:
        _check_free(port)
    reasons = []
    for start in (_in_docker, _from_maven):
        try:
            return start(port, ml)
        except Unavailable as error:
            reasons.append(str(error))
    raise Unavailable("no OpenSearch server: " + "; ".join(reasons))


def _check_free(port: int) -> None:
    """A node on a port that is taken dies, and who answers there would pass for it until then."""
    with socket.socket() as tried:
        if tried.connect_ex(("127.0.0.1", port)) == 0:
            raise Unavailable(f"something listens on port {port} already; end it, or choose another with PORT=9201")


def _in_docker(port: int | None, ml: bool) -> Server:
    if not _docker_answers():
        raise Unavailable("no Docker engine answers")
    try:
        from docker.errors import DockerException
        from testcontainers.core.container import DockerContainer
    except ImportError as error:
        raise Unavailable(f"testcontainers is not installed ({error.name})") from error
    container = DockerContainer(IMAGE).with_bind_ports(9200, port or None)
    for name, value in {**_CONTAINER, **(ML_SETTINGS if ml else {})}.items():
        container.with_env(name, value)
    try:
        container.start()
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(9200)}"
        wait_until_healthy(url)
    except (DockerException, Unavailable) as error:
        container.stop()
        raise Unavailable(f"Docker could not run {IMAGE}: {error}") from error
    return Server(url, f"in Docker from {IMAGE}", container.stop)


def _docker_answers() -> bool:
    # Docker's own client leaves a socket open when nobody answers.
    if os.environ.get("DOCKER_HOST"):
        return True
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(_DOCKER_SOCKET) == 0


def _from_maven(port: int | None, ml: bool) -> Server:
    if ml:
        settings = {"discovery.type": "single-node", **ML_SETTINGS}
        node = LocalNode(port=port, home=ml_home(), heap="1g", settings=settings)
    else:
        node = LocalNode(port=port)
    return Server(node.url, f"a node of Maven artifacts (process {node.pid})", node.stop, node.check_alive)


def _get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
