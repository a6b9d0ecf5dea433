"""What an application that traces sees of a search, of a request to a server and of the HTTP service."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder
from loopback import loopback
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import db_attributes as db
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.trace import SpanKind, StatusCode
from spans import recorded
from starlette.testclient import TestClient

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.errors import FilterError, Overloaded, RerankingFailed
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.app import application
from hybrid_search.service.core import Service
from hybrid_search.settings.service import ServiceOptions
from hybrid_search.tracing import CAPTURE, handed_on
from hybrid_search.types import Hit

ROOT = Path(__file__).parents[2]
LEGS = ["embeddings axes", "bm25 pets", "knn pets", "fuse pets", "fetch pets"]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FULL = (429, {"error": {"type": "rejected_execution_exception", "reason": "queue is full of secrets"}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced") / "pets"
    with EmbeddedEngine.create(folder, AXIS_SETTINGS) as engine:
        Retriever(AxisEncoder(), engine).add(PETS)
    return folder


@pytest.fixture
def retriever(folder: Path) -> Iterator[Retriever]:
    with Retriever(AxisEncoder(), EmbeddedEngine.open(folder)) as retriever:
        yield retriever


def test_a_search_has_spans_for_encoding_each_leg_fusing_and_fetching(retriever: Retriever) -> None:
    with recorded() as seen:
        retriever.search("cat sleeps", 3)
    assert seen.under("retrieval") == LEGS
    whole, leg, encoding = seen.named("retrieval"), seen.named("knn pets"), seen.named("embeddings axes")
    assert dict(whole.attributes or {}) == {
        gen_ai.GEN_AI_OPERATION_NAME: gen_ai.GenAiOperationNameValues.RETRIEVAL.value,
        "gen_ai.retrieval.top_k": 3,  # of release 0.1.0 of these conventions, later than the package
        "hybrid_search.mode": "hybrid",
        "hybrid_search.queries": 1,
    }
    assert dict(leg.attributes or {}) == {
        db.DB_SYSTEM_NAME: "hybrid_search",
        db.DB_OPERATION_NAME: "knn",
        db.DB_COLLECTION_NAME: "pets",
    }
    assert dict(encoding.attributes or {}) == {
        gen_ai.GEN_AI_OPERATION_NAME: gen_ai.GenAiOperationNameValues.EMBEDDINGS.value,
        gen_ai.GEN_AI_PROVIDER_NAME: "hybrid_search",
        gen_ai.GEN_AI_REQUEST_MODEL: "axes",
        gen_ai.GEN_AI_EMBEDDINGS_DIMENSION_COUNT: 4,
        "hybrid_search.texts": 1,
    }
    assert {span.kind for span in seen.spans} == {SpanKind.INTERNAL}


def test_a_mode_has_the_spans_of_its_own_legs_and_a_batch_says_how_many(retriever: Retriever) -> None:
    with recorded() as seen:
        retriever.search_many(["cat", "dog"], mode="bm25")
    assert seen.under("retrieval") == ["bm25 pets", "fetch pets"]
    assert (seen.named("bm25 pets").attributes or {})[db.DB_OPERATION_BATCH_SIZE] == 2


def test_an_awaited_search_has_the_same_spans_under_the_callers(folder: Path) -> None:
    async def search() -> None:
        with trace.get_tracer("test").start_as_current_span("caller"):
            async with AsyncRetriever(Retriever(AxisEncoder(), EmbeddedEngine.open(folder))) as retriever:
                await asyncio.gather(retriever.search("cat"), retriever.search("dog", mode="bm25"))

    with recorded() as seen:
        asyncio.run(search())
    assert seen.under("caller") == ["retrieval", "retrieval"]
    assert {span.context.trace_id for span in seen.spans} == {seen.named("caller").context.trace_id}


def by_length(query: str, hits: Sequence[Hit]) -> list[int]:
    return [len(hit.text) for hit in hits]


def test_a_second_stage_has_a_span_of_its_own_around_what_it_fetches(retriever: Retriever) -> None:
    with recorded() as seen:
        retriever.search("cat sleeps", 2, rerank=by_length, rerank_depth=3, diversity=0.5)
    assert seen.under("retrieval") == [*LEGS, "rerank"]
    assert dict(seen.named("rerank").attributes or {}) == {
        "gen_ai.operation.name": "rerank",
        "hybrid_search.queries": 1,
        "hybrid_search.hits": 3,
        "hybrid_search.reranker": "by_length",
        "hybrid_search.diversity": 0.5,
    }
    assert "sleeps" not in seen.texts()


def test_a_reranker_that_fails_is_named_by_its_class_in_its_span(retriever: Retriever) -> None:
    def fails(query: str, hits: Sequence[Hit]) -> list[int]:
        raise ValueError("secret")

    with recorded() as seen, pytest.raises(RerankingFailed, match="secret"):
        retriever.search("cat", rerank=fails)
    assert (seen.named("rerank").attributes or {})[error_attributes.ERROR_TYPE] == "RerankingFailed"
    assert "secret" not in seen.texts()


def test_adding_counting_and_deleting_have_spans_too(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "own", AXIS_SETTINGS) as engine, recorded() as seen:
        retriever = Retriever(AxisEncoder(), engine)
        retriever.add(PETS)
        retriever.matches("cat")
        retriever.neighbours("d1", 1)
        retriever.delete(["d1"])
    operations = [(span.attributes or {}).get(db.DB_OPERATION_NAME) for span in seen.spans]
    assert [one for one in operations if one not in (None, "fetch")] == [
        "add", "commit", "count", "knn", "delete", "commit",
    ]  # fmt: skip
    assert (seen.named("add own").attributes or {})[db.DB_OPERATION_BATCH_SIZE] == 5


def test_no_text_leaves_with_a_span_unless_the_variable_of_the_conventions_asks(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded() as seen:
        retriever.search("kitten", filter="lang = 'secret'", highlight=True)
        retriever.get(["d1"])
    for text in ("kitten", "sleeps", "lang", "secret", "d1", "d2"):
        assert text not in seen.texts()
    monkeypatch.setenv(CAPTURE, "SPAN_ONLY")
    with recorded() as seen:
        retriever.search("kitten")
    assert (seen.named("retrieval").attributes or {})[gen_ai.GEN_AI_RETRIEVAL_QUERY_TEXT] == "kitten"


def test_a_failure_is_named_by_its_class_without_its_message(retriever: Retriever) -> None:
    with recorded() as seen, pytest.raises(FilterError, match="secret"):
        retriever.search("cat", filter="secret = 1")
    span = seen.named("retrieval")
    assert (span.attributes or {})[error_attributes.ERROR_TYPE] == "FilterError"
    assert span.status.status_code == StatusCode.ERROR
    assert "secret" not in seen.texts()


def test_a_request_to_a_server_is_one_span_with_all_its_attempts() -> None:
    with (
        loopback(FULL, (200, {"responses": []}), (200, {})) as server,
        closing(Client(server.address, Connection(retries=1))) as client,
        recorded() as seen,
    ):
        client.lines("/passages/_msearch", [{}, {}, {}, {}])
        client.call("GET", "/_cluster/health")
    ranked, health = seen.spans
    assert (ranked.name, ranked.kind, health.name) == ("msearch passages", SpanKind.CLIENT, "cluster")
    assert dict(ranked.attributes or {}) == {
        db.DB_SYSTEM_NAME: "opensearch",
        db.DB_OPERATION_NAME: "msearch",
        db.DB_COLLECTION_NAME: "passages",
        db.DB_OPERATION_BATCH_SIZE: 2,
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: server.address.port,
    }


def test_a_refusal_of_a_server_is_a_status_without_its_reason() -> None:
    with (
        loopback(always=FULL) as server,
        closing(Client(server.address, Connection(retries=0))) as client,
        recorded() as seen,
        pytest.raises(Overloaded, match="secrets"),
    ):
        client.call("GET", "/passages/_mapping")
    [span] = seen.spans
    attributes = span.attributes or {}
    assert (attributes[db.DB_RESPONSE_STATUS_CODE], attributes[error_attributes.ERROR_TYPE]) == ("429", "Overloaded")
    assert "secrets" not in seen.texts()


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[TestClient]:
    def opened() -> Retriever:
        return Retriever(AxisEncoder(), EmbeddedEngine.open(folder))

    with TestClient(application(Service(str(folder), opened, ServiceOptions(), writes=False))) as client:
        yield client


def test_a_request_to_the_service_goes_on_the_trace_of_its_caller(service: TestClient) -> None:
    with recorded() as seen:
        service.post("/search", json={"query": "kitten"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    span = seen.named("POST /search")
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.kind == SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        url_attributes.URL_PATH: "/search",
        url_attributes.URL_SCHEME: "http",
        http_attributes.HTTP_ROUTE: "/search",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
    }
    assert seen.under("POST /search") == ["retrieval"]
    assert seen.under("retrieval") == LEGS
    assert "kitten" not in seen.texts()


def test_a_document_is_named_by_its_route_and_looking_after_the_service_has_no_span(service: TestClient) -> None:
    with recorded() as seen:
        for path in ("/documents/d1", "/documents/none", "/health/live", "/metrics"):
            service.get(path)
    assert [(span.name, span.status.status_code) for span in seen.spans if span.kind == SpanKind.SERVER] == [
        ("GET /documents/{id:path}", StatusCode.UNSET),
        ("GET /documents/{id:path}", StatusCode.UNSET),
    ]


def test_what_is_passed_on_to_the_writing_process_carries_the_trace() -> None:
    headers: dict[str, str] = {}
    with recorded(), trace.get_tracer("test").start_as_current_span("caller") as span:
        handed_on(headers)
    context = span.get_span_context()
    assert headers["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


def test_a_search_imports_nothing_of_opentelemetry(folder: Path) -> None:
    code = (
        "import sys\nfrom hybrid_search.engines.embedded import EmbeddedEngine\n"
        "from hybrid_search.retrieval.retriever import Retriever\n"
        "from hybrid_search.engines.opensearch.transport import Client\n"
        "engine = EmbeddedEngine.open(sys.argv[1])\n"
        "assert Retriever(None, engine).search('cat', mode='bm25')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=ROOT)
