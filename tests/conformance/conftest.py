"""Every engine answers to the same tests. An engine joins by adding its maker to ``ENGINES``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleas import FLEAS, VECTORS
from node.server import Server

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings

Maker = Callable[[IndexSettings], Engine]

_NUMBERS = itertools.count()


@pytest.fixture
def make_embedded(tmp_path: Path) -> Iterator[Maker]:
    folders = (tmp_path / f"index-{number}" for number in itertools.count())
    yield from _closing(lambda settings: EmbeddedEngine.create(next(folders), settings))


@pytest.fixture
def make_opensearch(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    used: list[str] = []

    def make(settings: IndexSettings) -> Engine:
        used.append(f"{opensearch_server.location}/conformance-{next(_NUMBERS)}")
        OpenSearchEngine.drop(used[-1])
        return OpenSearchEngine.create(used[-1], settings)

    yield from _closing(make)
    for location in used:
        OpenSearchEngine.drop(location)


def _closing(make: Maker) -> Iterator[Maker]:
    made: list[Engine] = []

    def and_remember(settings: IndexSettings) -> Engine:
        made.append(make(settings))
        return made[-1]

    yield and_remember
    for engine in made:
        engine.close()


ENGINES = {
    "embedded": pytest.param("make_embedded", id="embedded"),
    "opensearch": pytest.param("make_opensearch", id="opensearch", marks=pytest.mark.opensearch),
}


@pytest.fixture(params=ENGINES.values())
def make_engine(request: pytest.FixtureRequest) -> Maker:
    maker: Maker = request.getfixturevalue(request.param)
    return maker


@pytest.fixture
def engine(make_engine: Maker) -> Engine:
    return make_engine(IndexSettings(dimension=2, fingerprint="towers"))


@pytest.fixture
def filled(engine: Engine) -> Engine:
    assert engine.add(FLEAS, VECTORS) == []
    engine.commit()
    return engine
