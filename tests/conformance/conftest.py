"""Every engine answers to the same tests. An engine joins by adding its maker to ``ENGINES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybrid_search.config import IndexSettings
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.protocols import Engine

Maker = Callable[[IndexSettings], Engine]


def embedded(folder: Path) -> Maker:
    return lambda settings: EmbeddedEngine.create(folder / "index", settings)


ENGINES: dict[str, Callable[[Path], Maker]] = {"embedded": embedded}


@pytest.fixture(params=sorted(ENGINES))
def make_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    made: list[Engine] = []
    make = ENGINES[request.param](tmp_path)

    def and_remember(settings: IndexSettings) -> Engine:
        made.append(make(settings))
        return made[-1]

    yield and_remember
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make_engine: Maker) -> Engine:
    return make_engine(IndexSettings(dimension=2, fingerprint="towers"))
