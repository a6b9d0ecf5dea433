"""Every body that is sent to a server has a golden file, and a server that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

import pytest
from node.server import Server

from hybrid_search import mappings
from hybrid_search.engines.opensearch.index.template import held_options, index_body
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import ConfigError
from hybrid_search.filters.parser import parse_filter
from hybrid_search.location import Address
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.settings.server import IN_QUERY, INDEX_DEFAULT, ServerOptions

Compare = Callable[[str, Any], None]

FIELDS = {"year": "long", "lang": "keyword", "score": "double", "open": "boolean", "a.b c": "keyword", "day": "date"}
PASSAGES = IndexSettings(
    analyzer="english", fingerprint="0123", dimension=3, similarity="dot", bm25=Bm25(k1=0.9, b=0.4), fields=FIELDS
)
VECTOR = [0.5, -0.25, 1.0]
FILTER = parse_filter("lang = en and (year >= 2020 or not score < 0.5) and open = true and lang in (en, de)")

COSINE, L2 = PASSAGES.replace(similarity="cosine"), PASSAGES.replace(similarity="l2")

INDEXES = {
    "index-passages": index_body(PASSAGES, ServerOptions()),
    "index-passages-cosine": index_body(COSINE, ServerOptions(shards=3, replicas="1-2")),
    "index-passages-l2": index_body(L2, ServerOptions(m=32, ef_construction=256, replicas="0")),
    "index-passages-4x": index_body(PASSAGES, ServerOptions(compression="4x")),
    "index-passages-on-disk": index_body(COSINE, ServerOptions(on_disk=True)),
    "index-texts": index_body(IndexSettings(analyzer="plain"), ServerOptions(shards=2)),
    "index-passages-folded": index_body(PASSAGES.replace(analyzer="english_folded"), ServerOptions()),
    "index-passages-parts": index_body(PASSAGES.replace(analyzer="english_parts"), ServerOptions()),
    "index-towers": mappings.render("index/towers"),
}

# Made and dropped, but never given a document: the node that the tests put together has no native libraries, which
# these need, and would die of the first refresh or search.
NATIVE_INDEXES = {
    "index-passages-lucene-32x": index_body(PASSAGES, ServerOptions(compression="32x")),
    "index-passages-faiss": index_body(PASSAGES, ServerOptions(knn_engine="faiss")),
    "index-passages-faiss-2x": index_body(COSINE, ServerOptions(knn_engine="faiss", compression="2x")),
    "index-passages-faiss-8x": index_body(L2, ServerOptions(knn_engine="faiss", compression="8x", on_disk=True)),
    "index-passages-faiss-16x": index_body(PASSAGES, ServerOptions(knn_engine="faiss", compression="16x")),
    "index-passages-faiss-on-disk": index_body(PASSAGES, ServerOptions(knn_engine="faiss", on_disk=True)),
}

OPTIONS_HELD = {
    "index-passages": {"shards": 1, "replicas": "0-1", "knn_engine": "lucene", "m": 16, "compression": None},
    "index-passages-cosine": {"shards": 3, "replicas": "1-2"},
    "index-passages-l2": {"m": 32, "ef_construction": 256, "replicas": "0-0"},
    "index-passages-4x": {"compression": "4x", "on_disk": False},
    "index-passages-on-disk": {"compression": "4x", "on_disk": True},
    "index-passages-faiss-on-disk": {"knn_engine": "faiss", "compression": "32x", "on_disk": True},
    "index-texts": {"shards": 2},
}

QUERY = ("what is bm25", VECTOR)


def hybrid(fusion: Fusion | None = None, *, vector: list[float] | None = VECTOR, **more: Any) -> dict[str, Any]:
    return requests.Hybrid(fusion or Fusion(), **more).body(("what is bm25", vector), 10)


FUSIONS = {
    "min-max": Fusion(),
    "geometric": Fusion(combination="geometric", weights=(0.3, 0.7)),
    "harmonic": Fusion(combination="harmonic", weights=(0.3, 0.7)),
    "from-zero": Fusion(method="min_max_from_zero"),
    "from-zero-geometric": Fusion(method="min_max_from_zero", combination="geometric"),
    "l2": Fusion(method="l2"),
    "l2-geometric": Fusion(method="l2", combination="geometric"),
    "l2-harmonic": Fusion(method="l2", combination="harmonic"),
    "z-score": Fusion(method="z_score"),
    "rrf": Fusion(method="rrf", rank_constant=10, weights=(0.3, 0.7)),
}

SEARCHES = {
    "search-lexical": requests.lexical("what is bm25", 10),
    "search-lexical-filtered": requests.lexical("what is bm25", 10, FILTER),
    "search-dense": requests.dense(VECTOR, 10),
    "search-dense-filtered": requests.dense(VECTOR, 300, FILTER),
    "search-dense-exact": requests.exact_dense(VECTOR, 10, "dot", FILTER),
    "search-hybrid": hybrid(),
    "search-hybrid-without-vector": hybrid(Fusion(window=50), vector=None),
    "search-hybrid-without-vector-stored": hybrid(vector=None, through="passages-fusion"),
    "search-hybrid-from-zero-without-vector": hybrid(Fusion(method="min_max_from_zero"), vector=None),
    "search-hybrid-filtered": hybrid(filter=FILTER),
    "search-hybrid-filtered-2.19": hybrid(filter=FILTER, filter_in_hybrid=False),
    "search-hybrid-stored": hybrid(through="passages-fusion"),
    "search-hybrid-index-default": hybrid(through=INDEX_DEFAULT),
    **{f"search-hybrid-{name}": hybrid(fusion) for name, fusion in FUSIONS.items() if name != "min-max"},
    "search-leg-bm25": requests.Hybrid(Fusion(), FILTER).legs(QUERY)[0],
    "search-leg-knn": requests.Hybrid(Fusion(), FILTER).legs(QUERY)[1],
    "search-all-comparisons": requests.lexical(
        "a", 1, parse_filter("exists(year) and year > 1 and year <= 9 and year < 9 and lang != en")
    ),
}

# Only golden files: no server that can be had here fuses inside a query (3.10); see the fall-back's test below.
IN_QUERY = {
    f"search-hybrid-in-query-{name}": hybrid(fusion, through=IN_QUERY, filter=FILTER)
    for name, fusion in FUSIONS.items()
}
BODIES = INDEXES | NATIVE_INDEXES | SEARCHES | IN_QUERY
PIPELINES = {f"pipeline-{name}": requests.fusion_pipeline(fusion) for name, fusion in FUSIONS.items()}


@pytest.fixture(scope="module")
def client(opensearch_server: Server) -> Iterator[Client]:
    with closing(Client(Address.parse(f"{opensearch_server.location}/golden"))) as client:
        yield client


@pytest.fixture(scope="module")
def index(client: Client) -> Iterator[str]:
    client.call("DELETE", "/golden", ignore_unavailable="true")
    client.call("PUT", "/golden", INDEXES["index-passages"])
    client.call("PUT", "/_search/pipeline/passages-fusion", PIPELINES["pipeline-min-max"])
    client.call("PUT", "/golden/_settings", {"index.search.default_pipeline": "passages-fusion"})
    yield "golden"
    client.call("DELETE", "/golden")
    client.call("DELETE", "/_search/pipeline/passages-fusion")


def without_tables(part: Any) -> Any:
    """Name a table of rules by its length and content: it is data, and its file is the golden one."""
    if isinstance(part, dict):
        return {name: without_tables(value) for name, value in part.items()}
    if isinstance(part, list) and len(part) > 100:
        return f"{len(part)} entries, {sha256(repr(part).encode()).hexdigest()[:16]}"
    return part


@pytest.mark.parametrize("name", sorted(BODIES | PIPELINES))
def test_a_body_is_what_was_written_down(name: str, matches_golden: Compare) -> None:
    matches_golden(name, without_tables((BODIES | PIPELINES)[name]))


@pytest.mark.opensearch
@pytest.mark.parametrize("name", sorted(INDEXES | NATIVE_INDEXES))
def test_the_server_takes_an_index(name: str, client: Client) -> None:
    client.call("DELETE", "/golden-index", ignore_unavailable="true")
    body = (INDEXES | NATIVE_INDEXES)[name]
    assert client.call("PUT", "/golden-index", body, wait_for_active_shards="0")["acknowledged"]
    held = held_options(client.call("GET", "/golden-index")["golden-index"])
    assert held.items() >= OPTIONS_HELD.get(name, {}).items()
    client.call("DELETE", "/golden-index")


@pytest.mark.opensearch
@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_the_server_takes_a_pipeline(name: str, client: Client) -> None:
    assert client.call("PUT", f"/_search/pipeline/golden-{name}", PIPELINES[name])["acknowledged"]
    assert client.call("GET", f"/_search/pipeline/golden-{name}") == {f"golden-{name}": PIPELINES[name]}
    client.call("DELETE", f"/_search/pipeline/golden-{name}")


@pytest.mark.opensearch
@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_the_server_takes_a_search(name: str, client: Client, index: str) -> None:
    answer = client.call("POST", f"/{index}/_search", SEARCHES[name])
    assert answer["_shards"]["failed"] == 0
    assert answer["hits"]["hits"] == []


@pytest.mark.opensearch
def test_a_page_of_all_documents_is_what_was_written_down_and_is_taken(
    client: Client, index: str, matches_golden: Compare
) -> None:
    matches_golden("documents-page", requests.documents_page("<point in time>", 1_000, [1795266873701275201, "d1"]))
    point = client.call("POST", f"/{index}/_search/point_in_time", keep_alive="1m")["pit_id"]
    assert client.call("POST", "/_search", requests.documents_page(point, 10, [5, "d1"]))["hits"]["hits"] == []
    client.call("DELETE", "/_search/point_in_time", {"pit_id": [point]})


@pytest.mark.opensearch
@pytest.mark.parametrize("name", ["index-passages-4x", "index-passages-on-disk"])
def test_compressed_vectors_are_found(name: str, client: Client) -> None:
    client.call("DELETE", "/golden-index", ignore_unavailable="true")
    client.call("PUT", "/golden-index", INDEXES[name])
    for number, vector in enumerate([VECTOR, [-1.0, 0.25, 0.5], [0.1, 1.0, -1.0]]):
        body = {"id": str(number), "added": number, "text": "t", "vector": vector}
        client.call("PUT", f"/golden-index/_doc/{number}", body)
    client.call("POST", "/golden-index/_refresh")
    found = client.call("POST", "/golden-index/_search", requests.dense(VECTOR, 2))["hits"]["hits"]
    assert [hit["fields"]["id"] for hit in found] == [["0"], ["1"]]
    client.call("DELETE", "/golden-index")


def test_a_missing_parameter_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rank_based\.json: missing weights; it takes rank_constant, weights"):
        mappings.render("pipelines/rank_based", rank_constant=60)
    with pytest.raises(ConfigError, match=r"unknown wieghts"):
        mappings.render("pipelines/rank_based", rank_constant=60, weights=[0.5, 0.5], wieghts=[])
    with pytest.raises(ConfigError, match=r"there is no mappings/pipelines/best\.json"):
        mappings.render("pipelines/best")


def test_a_template_is_not_changed_by_rendering_it() -> None:
    first = mappings.render("pipelines/rank_based", rank_constant=1, weights=[0.5, 0.5])
    first["phase_results_processors"].clear()
    second = mappings.render("pipelines/rank_based", rank_constant=2, weights=[0.1, 0.9])
    assert second["phase_results_processors"][0]["score-ranker-processor"]["combination"]["rank_constant"] == 2
