"""An index of the interpreter's documentation, its towers deployed in the cluster too, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from made_models import make_model
from node.server import Server

import hybrid_search
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import Deployment
from hybrid_search.in_cluster.deploy import deploy, undeploy
from hybrid_search.loaders.python_docs import PythonDocs
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document, Query

__all__ = [
    "DOCUMENTS",
    "IN_CLUSTER",
    "NAME",
    "QUERIES",
    "UNKNOWN",
    "Prepared",
    "create",
    "pages",
    "prepared",
]

IN_CLUSTER = SearchOptions(in_cluster=True)
NAME = "plain-requests"
DOCUMENTS, QUERIES = 700, 30
UNKNOWN = ["漢字", "🎉 🎉", "!!! ???"]
"""The tower knows nothing of these; the index knows the first."""


@dataclass(frozen=True)
class Prepared:
    """An index of the interpreter's documentation that carries its towers, which are deployed in the cluster too.

    :ivar requests: what ``deploy`` says to send.
    """

    url: str
    location: str
    model: Path
    encoder: OnnxEncoder
    queries: list[Query]
    deployment: Deployment
    requests: str

    @property
    def texts(self) -> list[str]:
        return [query.text for query in self.queries]

    def there(self) -> Retriever:
        return hybrid_search.open(self.location, search=IN_CLUSTER)

    def here(self) -> Retriever:
        return hybrid_search.open(self.location)


def create(location: str, model: Path, documents: Sequence[Document]) -> OnnxEncoder:
    OpenSearchEngine.drop(location)
    encoder = OnnxEncoder.load(model, threads=1)
    fusion = Fusion(weights=(0.4, 0.6), window=100)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint, fusion=fusion)
    with OpenSearchEngine.create(location, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        Retriever(encoder, engine).add(documents)
    return encoder


@pytest.fixture(scope="module")
def pages() -> list[Document]:
    unknown = [
        Document("kanji", "漢字 is what the tower does not know", metadata={"kind": "topic"}),
        Document("only-unknown", "漢字 漢字", metadata={"kind": "topic"}),
    ]
    return [*islice(PythonDocs().documents(), DOCUMENTS), *unknown]


@pytest.fixture(scope="module")
def prepared(ml_server: Server, pages: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    data = PythonDocs()
    ids = {document.id for document in pages}
    answered = {judgement.query_id for judgement in data.judgements("test") if judgement.document_id in ids}
    queries = [query for query in data.queries("test") if query.id in answered][:QUERIES]
    folder = tmp_path_factory.mktemp("plain-requests")
    model = make_model(folder / "model", [document.searchable_text for document in pages[:DOCUMENTS]], seed=3)
    location = f"{ml_server.location}/{NAME}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HYBRID_SEARCH_CACHE", str(folder / "cache"))
        encoder = create(location, model, pages)
        made = deploy(location, allow_settings=True)
        yield Prepared(ml_server.url, location, model, encoder, queries, made.outcome.deployment, made.requests)
        undeploy(location)
        OpenSearchEngine.drop(location)
