"""pytest: nodes of another kind than the one that all tests share, started beside them once a test that needs one is
collected, so that they are up when its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from node.home import bare_home
from node.maven import Unavailable
from node.plugin import without_server
from node.process import LocalNode, wait_until_healthy
from node.secured import SecuredNode

Node = LocalNode | SecuredNode

_STARTED = pytest.StashKey[dict[str, Future[Node]]]()


def _bare() -> LocalNode:
    return LocalNode(heap="256m", home=bare_home(), wait=False)


_KINDS: dict[str, Callable[[], Node]] = {"secured_node": SecuredNode, "bare_node": _bare}
"""Fixture -> how its node is started."""


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the nodes that the tests will ask for."""
    if config.option.collectonly:
        return
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    pool = ThreadPoolExecutor(1)  # homes are built one after the other
    config.stash[_STARTED] = {kind: pool.submit(start) for kind, start in _KINDS.items() if kind in wanted}
    pool.shutdown(wait=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop them, also after Ctrl-C."""
    for started in config.stash.get(_STARTED, {}).values():
        if not started.cancel() and started.exception() is None:
            started.result().stop()


@pytest.fixture(scope="session")
def secured_node(pytestconfig: pytest.Config) -> SecuredNode:
    """A node with TLS, users and tokens."""
    node = _started(pytestconfig, "secured_node")
    assert isinstance(node, SecuredNode)
    try:
        node.wait()
    except Unavailable as error:
        without_server(str(error))
    return node


@pytest.fixture(scope="session")
def bare_node(pytestconfig: pytest.Config) -> LocalNode:
    """A node without any plugin."""
    node = _started(pytestconfig, "bare_node")
    assert isinstance(node, LocalNode)
    try:
        wait_until_healthy(node.url, node.check_alive)
    except Unavailable as error:
        without_server(str(error))
    return node


def _started(config: pytest.Config, kind: str) -> Node:
    try:
        return config.stash[_STARTED][kind].result()
    except Unavailable as error:
        without_server(str(error))
