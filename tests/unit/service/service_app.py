"""A service over an index whose vectors can be told by hand, asked in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes import AXIS_SETTINGS, PETS, AxisEncoder
from starlette.testclient import TestClient

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.app import application
from hybrid_search.service.core import Service
from hybrid_search.settings.service import ServiceOptions


def pets(folder: Path) -> Path:
    """Write the index of the five pets."""
    with EmbeddedEngine.create(folder, AXIS_SETTINGS) as engine:
        Retriever(AxisEncoder(), engine).add(PETS)
    return folder


def opening(folder: Path, *, writable: bool = False) -> Callable[[], Retriever]:
    return lambda: Retriever(AxisEncoder(), EmbeddedEngine.open(folder, writable=writable))


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[TestClient]:
    given = ServiceOptions(**options)
    service = Service(str(folder), opening(folder, writable=given.writable), given, writes=given.writable)
    with TestClient(application(service), raise_server_exceptions=False) as client:
        yield client
