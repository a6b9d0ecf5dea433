"""pytest: one server for all tests that are marked ``opensearch``, started when the first of them is collected, or in
each worker of pytest-xdist, when the first of them runs."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from node.home import cache_folder
from node.maven import Unavailable
from node.server import Server, find_server

_FOUND = pytest.StashKey[Server | str]()

cache_folder()


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Start the server if a test needs it, and say which it is."""
    if config.option.collectonly or in_worker() or not any(item.get_closest_marker("opensearch") for item in items):
        return None
    found = _found(config)
    return found if isinstance(found, str) else found.describe()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server, also after Ctrl-C."""
    if isinstance(server := config.stash.get(_FOUND, None), Server):
        server.stop()


@pytest.fixture(scope="session")
def opensearch_server(pytestconfig: pytest.Config) -> Server:
    """The server; without one the test is skipped, and where CI is set it fails."""
    found = _found(pytestconfig)
    return found if isinstance(found, Server) else without_server(found)


def _found(config: pytest.Config) -> Server | str:
    """Return the server, or why there is none; start it the first time."""
    if _FOUND not in config.stash:
        try:
            config.stash[_FOUND] = find_server()
        except Unavailable as error:
            config.stash[_FOUND] = str(error)
    return config.stash[_FOUND]


def in_worker() -> bool:
    """Whether this is a worker of pytest-xdist, which sees all tests and runs some."""
    return "PYTEST_XDIST_WORKER" in os.environ


def without_server(reason: str) -> NoReturn:
    """Skip the test, or where CI is set let it fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
