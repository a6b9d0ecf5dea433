"""What is the OpenSearch engine's own: refreshing, replacing, errors of a real server, the towers' cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from asked import by_text
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.aliases import create_marked
from hybrid_search.engines.opensearch.index.meta import Mark
from hybrid_search.engines.opensearch.index.tower_files import companion_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import (
    CorruptModel,
    IndexExists,
    IndexNotFound,
    SearchIndexError,
    UnsupportedCapability,
    UsageError,
)
from hybrid_search.location import Address
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.settings.server import ServerOptions
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

SETTINGS = IndexSettings(dimension=2, fingerprint="towers")
VECTORS = np.array([[1, 0], [0, 1]], np.float32)


@pytest.fixture
def location(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location = f"{opensearch_server.location}/own-tests"
    OpenSearchEngine.drop(location)
    yield location
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client


def refresh_interval(client: Client) -> str | None:
    settings = client.call("GET", "/own-tests/_settings")["own-tests"]["settings"]["index"]
    interval: str | None = settings.get("refresh_interval")
    return interval


def test_refreshing_stops_for_a_load_and_not_for_an_addition(location: str, client: Client) -> None:
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        engine.add([Document("a", "one")], None)
        assert refresh_interval(client) is None
        engine.writer.hold()
        assert refresh_interval(client) == "-1"
        engine.commit()
    assert refresh_interval(client) is None


def test_a_reader_sees_commits_and_fields_of_a_writer(location: str) -> None:
    from hybrid_search.filters.parser import parse_filter

    with OpenSearchEngine.create(location, SETTINGS) as writer, OpenSearchEngine.open(location) as reader:
        writer.add([Document("a", "one", metadata={"year": 2020, "a.b*c %": "x"})], VECTORS[:1])
        writer.commit()
        assert by_text(reader, ["one"], 1, parse_filter("year = 2020"))[0].ids == ("a",)
        assert reader.settings.fields == {"year": "long", "a.b*c %": "keyword"}
        assert reader.get(["a"]) == [Document("a", "one", metadata={"year": 2020, "a.b*c %": "x"})]
        with pytest.raises(UsageError, match="writable=True"):
            reader.delete(["a"])


def test_a_field_that_another_writer_declared_otherwise_refuses_the_document(location: str) -> None:
    with OpenSearchEngine.create(location, SETTINGS) as one, OpenSearchEngine.open(location, writable=True) as two:
        assert two.add([Document("a", "x", metadata={"year": 2020})], None) == []
        (refused,) = one.add([Document("b", "y", metadata={"year": "long ago"}), Document("c", "z")], None)
        assert refused.field == "year"
        assert refused.reason.startswith(
            "year is 'long ago', which is keyword; the index has it as long. A field has one"
        )
        one.commit()
        assert [document.id for document in one.documents()] == ["a", "c"]


def test_creating_an_index_that_is_there_is_refused_unless_it_is_the_same(location: str) -> None:
    OpenSearchEngine.create(location, SETTINGS).close()
    with pytest.raises(IndexExists, match="already exists"):
        OpenSearchEngine.create(location, SETTINGS)
    with OpenSearchEngine.create(location, SETTINGS, exist_ok=True) as engine:
        assert engine.settings == SETTINGS
    with pytest.raises(IndexExists, match="dimension 2, asked for 3"):
        OpenSearchEngine.create(location, SETTINGS.replace(dimension=3), exist_ok=True)


def test_k1_and_b_of_the_index_are_used_and_others_are_refused(location: str) -> None:
    with OpenSearchEngine.create(location, SETTINGS.replace(bm25=Bm25(k1=0.0, b=0.0))) as engine:
        engine.add([Document("a", "sea"), Document("b", "sea sea sea and more")], None)
        engine.commit()
        # With k1 = 0 only the idf is left, however often and in however long a text a word stands: ln(1 + .5/2.5).
        assert by_text(engine, ["sea"], 2)[0].scores == pytest.approx((np.log(1.2),) * 2, rel=1e-6)
        with pytest.raises(UnsupportedCapability, match="k1"):
            by_text(engine, ["sea"], 2, bm25=Bm25())


def test_an_index_of_something_else_is_not_touched(location: str, client: Client) -> None:
    client.call("PUT", "/own-tests", {"mappings": {"properties": {"text": {"type": "text"}}}})
    for touch in (partial(OpenSearchEngine.open, writable=True), OpenSearchEngine.drop):
        with pytest.raises(SearchIndexError, match="not made by hybrid-search"):
            touch(location)
    client.call("DELETE", "/own-tests")


def test_an_index_that_is_not_there(location: str) -> None:
    assert not OpenSearchEngine.exists(location)
    with pytest.raises(IndexNotFound, match=r"no such index \[own-tests\]"):
        OpenSearchEngine.open(location)


def test_a_write_into_a_blocked_index_says_so(location: str, client: Client) -> None:
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        engine.add([Document("a", "one")], None)
        client.call("PUT", "/own-tests/_settings", {"index.blocks.read_only_allow_delete": True})
        with pytest.raises(SearchIndexError, match="the index is blocked"):
            engine.add([Document("b", "two")], None)
        client.call("PUT", "/own-tests/_settings", {"index.blocks.read_only_allow_delete": None})


def test_what_the_server_refuses_of_a_document_comes_back_with_its_reason(location: str) -> None:
    # One word of more bytes than Lucene takes for a term.
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        rejections = engine.add([Document("a", "x" * 40_000), Document("b", "fine")], VECTORS)
        engine.commit()
        assert [rejection.source for rejection in rejections] == ["index"]
        assert "immense term" in rejections[0].reason
        assert engine.get(["a", "b"])[0] is None
        assert engine.count() == 1


def test_nobody_at_the_address() -> None:
    with pytest.raises(SearchIndexError, match=r"nothing answers at http://127\.0\.0\.1:1"):
        OpenSearchEngine.open("opensearch://127.0.0.1:1/a")


def test_tls_to_a_server_without_it(location: str) -> None:
    with pytest.raises(SearchIndexError, match="use opensearch:// for a server without TLS"):
        OpenSearchEngine.open(location.replace("opensearch://", "opensearchs://"))


def test_a_user_without_a_password_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSEARCH_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="no password for user 'me'; put it into OPENSEARCH_PASSWORD"):
        OpenSearchEngine.open("opensearch://me@127.0.0.1:1/a")


def test_the_towers_are_downloaded_once_and_a_damaged_copy_is_replaced(
    location: str, client: Client, tmp_path: Path
) -> None:
    model = tmp_path / "query.onnx"
    model.write_bytes(bytes(range(256)) * 40_000)
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        engine.store_model([model])
        folder = engine.model_folder()
        assert folder is not None
        assert (folder / "query.onnx").read_bytes() == model.read_bytes()
        (folder / "query.onnx").write_bytes(b"damaged")
        again = engine.model_folder()
        assert again == folder
        assert (folder / "query.onnx").read_bytes() == model.read_bytes()
        (folder / "query.onnx").unlink()
        companion = companion_of(SETTINGS.fingerprint)
        ids = [hit["_id"] for hit in client.call("GET", f"/{companion}/_search")["hits"]["hits"]]
        client.call("DELETE", f"/{companion}/_doc/{next(id for id in ids if not id.startswith('towers'))}")
        with pytest.raises(CorruptModel, match="not what was stored"):
            engine.model_folder()
    OpenSearchEngine.drop(location)
    with pytest.raises(IndexNotFound, match="no such index"):
        client.call("GET", f"/{companion}/_count")


def test_a_closed_engine_says_so(location: str) -> None:
    engine = OpenSearchEngine.create(location, SETTINGS)
    engine.close()
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.count()


@pytest.mark.parametrize(
    "options",
    [
        ServerOptions(knn_engine="faiss"),
        ServerOptions(knn_engine="faiss", compression="8x"),
        ServerOptions(compression="32x"),
        ServerOptions(knn_engine="faiss", on_disk=True),
    ],
)
def test_what_ends_a_node_without_native_libraries_is_refused_before_an_index_is_made(
    location: str, client: Client, options: ServerOptions
) -> None:
    if client.call("GET", "/")["version"]["build_type"] != "zip":
        pytest.skip("this server brings the native libraries of the k-NN plugin")
    # An empty index with such a field makes the plugin say that it is initialised, without the libraries.
    method = {"name": "hnsw", "engine": "faiss"}
    vector = {"type": "knn_vector", "dimension": 4, "method": method}
    body = {"settings": {"index.knn": True}, "mappings": {"properties": {"vector": vector}}}
    strangers = f"{Address.parse(location).index}-strangers"
    client.call("PUT", f"/{strangers}", body)
    client.call("DELETE", f"/{strangers}")
    with pytest.raises(UnsupportedCapability, match="needs the native libraries of the k-NN plugin"):
        OpenSearchEngine.create(location, SETTINGS, options=options)
    assert not OpenSearchEngine.exists(location)
    address = Address.parse(location)
    with pytest.raises(UnsupportedCapability, match="needs the native libraries"):
        create_marked(client, address.index, SETTINGS, options, Mark(alias="a"))
    assert client.call("GET", "/_cluster/health")["number_of_nodes"] == 1
