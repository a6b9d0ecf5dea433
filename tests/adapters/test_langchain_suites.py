"""LangChain's own suites for vector stores and retrievers, all of their tests; ``make adapters`` runs them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="`make adapters` installs langchain-tests and runs this")

from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from hybrid_search.adapters.langchain import HybridSearchRetriever, HybridSearchVectorStore
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, empty_index: Retriever) -> VectorStore:
        return HybridSearchVectorStore(empty_index)


class TestRetriever(RetrieversIntegrationTests):
    opened: Retriever

    @pytest.fixture(autouse=True)
    def index(self, empty_index: Retriever) -> None:
        empty_index.add([Document(str(number), "foo bar baz") for number in range(5)])
        self.opened = empty_index

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridSearchRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": self.opened}

    @property
    def retriever_query_example(self) -> str:
        return "foo"
