import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_app import pets, served
from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the five pets; nobody writes to it."""
    return pets(tmp_path_factory.mktemp("pets") / "index")


@pytest.fixture(scope="session")
def client(index: Path) -> Iterator[TestClient]:
    with served(index, max_query=100, max_k=50, max_batch=4) as client:
        yield client


@pytest.fixture
def own_index(index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(index, tmp_path / "own"))


@pytest.fixture
def writable(own_index: Path) -> Iterator[TestClient]:
    with served(own_index, writable=True) as client:
        yield client
