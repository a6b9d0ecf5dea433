"""pytest: nodes of another kind than the one that all tests share, started beside them once a test that needs one is
collected, so that they are up when its turn comes; in a worker of pytest-xdist, once such a test runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from node.home import bare_home
from node.maven import Unavailable
from node.ml_home import ML_SETTINGS, ml_home
from node.plugin import in_worker, without_server
from node.process import LocalNode, wait_until_healthy
from node.secured import SecuredNode
from node.server import Server, find_server

Node = LocalNode | SecuredNode | Server

_STARTED = pytest.StashKey[dict[str, Future[Node]]]()


def _bare() -> LocalNode:
    return LocalNode(heap="256m", home=bare_home(), wait=False)


def _with_ml() -> LocalNode | Server:
    """A node of our own, unless the server that was named for all tests has ml-commons."""
    if os.environ.get("OPENSEARCH_URL") and "opensearch-ml " in (given := find_server()).describe():
        return given
    return mortal_ml_node()


def mortal_ml_node() -> LocalNode:
    """Start a node with ml-commons, whose cluster settings let towers in, and which a test may kill."""
    return LocalNode(heap="768m", home=ml_home(), settings={"discovery.type": "single-node", **ML_SETTINGS}, wait=False)


_KINDS: dict[str, Callable[[], Node]] = {
    "secured_node": SecuredNode,
    "secured_ml_node": partial(SecuredNode, ml=True),
    "bare_node": _bare,
    "ml_server": _with_ml,
    "mortal_node": mortal_ml_node,
}
"""Fixture -> how its node is started."""

_SHARED = ("opensearch-1", "opensearch-2")
"""Groups of the tests on the server that all share: a worker that runs any of them starts a server of its own, which
costs two processor minutes, and a single group would still be running when all others are done."""

_LONGEST = (*_SHARED, "ml_server", "test_readme_loop", "mortal_node", "test_opensearch_cluster", "test_command_line",
            "test_drawn_requests")  # fmt: skip
_FOLDERS = ("integration", "campaign", "conformance", "golden")
"""Folders of long groups; those of short ones come after them."""


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the nodes that the tests will ask for."""
    if config.option.collectonly or in_worker():
        return
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    _start(config, [kind for kind in _KINDS if kind in wanted])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop them, also after Ctrl-C."""
    for started in config.stash.get(_STARTED, {}).values():
        if not started.cancel() and started.exception() is None:
            started.result().stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let one worker of pytest-xdist have all tests of a file, and of a kind of node, which is started only there."""
    if not config.pluginmanager.hasplugin("xdist"):  # its mark would be an unknown one
        return
    on_shared = Counter(item.path.stem for item in items if item.get_closest_marker("opensearch") and not _kinds(item))
    shared = _halves(on_shared)
    groups = {item: _group(item, shared) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: _turn(item, groups[item]))


def _kinds(item: pytest.Item) -> list[str]:
    return sorted(_KINDS.keys() & set(getattr(item, "fixturenames", ())))


def _halves(files: Counter[str]) -> dict[str, str]:
    """Share files out among the groups of the shared server, about as many tests to each."""
    sizes = Counter(dict.fromkeys(_SHARED, 0))
    halves = {}
    for file, tests in sorted(files.items(), key=lambda counted: (-counted[1], counted[0])):
        halves[file] = min(_SHARED, key=lambda group: sizes[group])
        sizes[halves[file]] += tests
    return halves


def _group(item: pytest.Item, shared: Mapping[str, str]) -> str:
    if kinds := _kinds(item):
        return kinds[0]
    on_server = item.get_closest_marker("opensearch") is not None
    return shared[item.path.stem] if on_server else item.path.stem


def _turn(item: pytest.Item, group: str) -> tuple[int, int]:
    """Whose turn is first: the longest groups, so that no worker has one left when the others are done."""
    folder = next((place for place, name in enumerate(_FOLDERS) if name in item.path.parts), len(_FOLDERS))
    return (_LONGEST.index(group) if group in _LONGEST else len(_LONGEST)), folder


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to share tests out without their groups: every worker would start every kind of node."""
    wants_groups = in_worker() and session.config.getoption("loadgroup", False)
    if wants_groups and session.items and "@" not in session.items[0].nodeid:
        raise pytest.UsageError(
            f"pytest {pytest.__version__} does not let this pytest-xdist group tests; take the one of constraints.txt"
        )


@pytest.fixture(scope="session")
def secured_node(pytestconfig: pytest.Config) -> SecuredNode:
    """A node with TLS, users and tokens."""
    return _secured(pytestconfig, "secured_node")


@pytest.fixture(scope="session")
def secured_ml_node(pytestconfig: pytest.Config) -> SecuredNode:
    """A node with TLS, users and tokens, and ml-commons."""
    return _secured(pytestconfig, "secured_ml_node")


@pytest.fixture(scope="session")
def ml_server(pytestconfig: pytest.Config) -> Server:
    """A server with ml-commons, which runs towers."""
    node = _started(pytestconfig, "ml_server")
    if isinstance(node, Server):
        return node
    return Server(_healthy(node).url, "a node with ml-commons", node.stop)


@pytest.fixture
def mortal_node(pytestconfig: pytest.Config) -> LocalNode:
    """A node with ml-commons that a test may kill."""
    return _healthy(_started(pytestconfig, "mortal_node"))


@pytest.fixture(scope="session")
def bare_node(pytestconfig: pytest.Config) -> LocalNode:
    """A node without any plugin."""
    return _healthy(_started(pytestconfig, "bare_node"))


def _secured(config: pytest.Config, kind: str) -> SecuredNode:
    node = _started(config, kind)
    assert isinstance(node, SecuredNode)
    try:
        node.wait()
    except Unavailable as error:
        without_server(str(error))
    return node


def _healthy(node: Node) -> LocalNode:
    assert isinstance(node, LocalNode)
    try:
        wait_until_healthy(node.url, node.check_alive)
    except Unavailable as error:
        without_server(str(error))
    return node


def _start(config: pytest.Config, kinds: list[str]) -> None:
    started = config.stash.setdefault(_STARTED, {})
    pool = ThreadPoolExecutor(1)  # homes are built one after the other
    started.update({kind: pool.submit(_KINDS[kind]) for kind in kinds if kind not in started})
    pool.shutdown(wait=False)


def _started(config: pytest.Config, kind: str) -> Node:
    _start(config, [kind])
    try:
        return config.stash[_STARTED][kind].result()
    except Unavailable as error:
        without_server(str(error))
