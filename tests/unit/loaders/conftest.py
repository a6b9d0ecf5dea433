"""Fixtures of the loaders' tests: a list that takes rejections, files written by hand, the real data if present."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hybrid_search.types import Rejection

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def rejected() -> list[Rejection]:
    return []


@pytest.fixture
def write(tmp_path):
    """Write a file under tmp_path and return its path; a name that ends in .gz is gzipped."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the real data sets are not there: {SHARED}")
    return SHARED
