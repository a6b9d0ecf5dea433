"""LangChain's own suites for vector stores and retrievers, all of their tests; ``make adapters`` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="`make adapters` installs langchain-tests and runs this")

from fakes import AXES, AXIS_SETTINGS, AxisEncoder
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from hybrid_search.adapters.langchain import HybridSearchRetriever, HybridSearchVectorStore
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document


@pytest.fixture(autouse=True)
def words_of_the_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, axis in {"foo": 0, "bar": 1, "baz": 2}.items():
        monkeypatch.setitem(AXES, word, axis)


def empty(folder: Path) -> Retriever:
    return Retriever(AxisEncoder(), EmbeddedEngine.create(folder, AXIS_SETTINGS))


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with empty(tmp_path / "index") as retriever:
            yield HybridSearchVectorStore(retriever)


class TestRetriever(RetrieversIntegrationTests):
    opened: Retriever

    @pytest.fixture(autouse=True)
    def index(self, tmp_path: Path) -> Iterator[None]:
        with empty(tmp_path / "index") as retriever:
            retriever.add([Document(str(number), "foo bar baz") for number in range(5)])
            self.opened = retriever
            yield

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridSearchRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": self.opened}

    @property
    def retriever_query_example(self) -> str:
        return "foo"
