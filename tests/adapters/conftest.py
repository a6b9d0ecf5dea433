"""Each framework's tests run on both engines; ``make adapters`` loads the plugin that starts a server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import AXES, AXIS_SETTINGS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.retrieval.retriever import Retriever

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def words_of_the_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, axis in {"foo": 0, "bar": 1, "baz": 2}.items():
        monkeypatch.setitem(AXES, word, axis)


@pytest.fixture(params=["embedded", "opensearch"])
def empty_index(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Retriever]:
    """An index without documents. LangChain's suites have a fixture ``retriever`` of their own."""
    if request.param == "embedded":
        with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
            yield retriever
        return
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location = f"{request.getfixturevalue('opensearch_server').location}/adapters-{next(_NUMBERS)}"
    OpenSearchEngine.drop(location)
    with Retriever(AxisEncoder(), OpenSearchEngine.create(location, AXIS_SETTINGS)) as retriever:
        yield retriever
    OpenSearchEngine.drop(location)
