"""A folder to write files into, and what the loader makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_search.loaders.files import open_dataset
from hybrid_search.loaders.files.dataset import Files
from hybrid_search.types import Document, Rejection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def put(folder: Path) -> Callable[..., Path]:
    """Write a file into the folder."""

    def write(name: str, content: str | bytes) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class Loaded:
    """What was read: the documents by their ids, what was rejected, and the counts."""

    def __init__(self, path: Path, **options: object) -> None:
        self.rejected: list[Rejection] = []
        self.data: Files = open_dataset(path, reject=self.rejected.append, **{"config": "whole", **options})
        self.documents: dict[str, Document] = {one.id: one for one in self.data.documents()}
        self.counts = self.data.report()
        self.reasons = {one.record: one.reason for one in self.rejected}


@pytest.fixture
def load(folder: Path) -> Callable[..., Loaded]:
    return lambda path=folder, **options: Loaded(path, **options)
