"""Several real nodes on one machine: started together, killed one by one, brought back with their data."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Self

from node.maven import Unavailable
from node.process import LocalNode, free_ports

__all__ = ["LocalCluster"]

_PATIENCE = 300.0


class LocalCluster:
    """A cluster whose nodes may all become its manager.

    :ivar urls: of the nodes, as in ``http://127.0.0.1:9200``, the dead ones too.
    :raises Unavailable: if it can't be built, or a node dies while it starts.
    """

    def __init__(self, size: int = 3, *, heap: str = "384m") -> None:
        self._nodes: list[LocalNode] = []
        self._down: set[int] = set()
        ports = free_ports(2 * size)
        http, transport = ports[:size], ports[size:]
        common = {
            "discovery.seed_hosts": json.dumps([f"127.0.0.1:{port}" for port in transport]),
            "cluster.initial_cluster_manager_nodes": json.dumps([f"node-{port}" for port in http]),
        }
        try:
            for port, inner in zip(http, transport, strict=True):
                settings = {**common, "transport.port": inner}
                self._nodes.append(LocalNode(heap=heap, port=port, settings=settings, wait=False))
            self.wait()
            self._until(self._all_vote, "did not give every node a vote")
        except BaseException:
            self.stop()
            raise

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self._nodes]

    def manager(self) -> int:
        """Return the number of the node that the others have elected."""
        (told,) = self._asked("_cat/cluster_manager?format=json")
        return [f"node-{node.port}" for node in self._nodes].index(told["node"])

    def kill(self, number: int) -> None:
        """End a node's process as a crash does."""
        self._down.add(number)
        self._nodes[number].kill()

    def start(self, number: int) -> None:
        """Bring a killed node back; :meth:`wait` waits until it is in."""
        self._nodes[number].start()
        self._down.discard(number)

    def wait(self, status: str = "green") -> None:
        """Wait until all nodes that are not killed are in, and the cluster has that state or a better one.

        :raises Unavailable: if a node ends meanwhile, or it takes too long.
        """
        alive = len(self._nodes) - len(self._down)
        path = f"_cluster/health?wait_for_nodes={alive}&wait_for_status={status}&timeout=5s"
        # Not yet is 408, an error.
        self._until(lambda: bool(self._asked(path)), f"was not {status} with {alive} nodes")

    def stop(self) -> None:
        """End every node and remove the data; again is harmless."""
        for node in self._nodes:
            node.kill()  # nothing of it is wanted any more
        for node in self._nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            for number, node in enumerate(self._nodes):
                if number not in self._down:
                    node.check_alive()
            with contextlib.suppress(OSError):
                if is_so():
                    return
            time.sleep(0.2)
        raise Unavailable(f"the cluster {otherwise} within {_PATIENCE:.0f} s")

    def _all_vote(self) -> bool:
        """A cluster begins with the votes of two; losing one of these before the third has its own is the end of it."""
        state = self._asked("_cluster/state/metadata,nodes?filter_path=metadata.cluster_coordination,nodes.*.name")
        voters = state["metadata"]["cluster_coordination"]["last_committed_config"]
        return set(voters) == set(state["nodes"])

    def _asked(self, path: str) -> Any:
        alive = next(node for number, node in enumerate(self._nodes) if number not in self._down)
        with urllib.request.urlopen(f"{alive.url}/{path}", timeout=30) as answer:
            return json.load(answer)
