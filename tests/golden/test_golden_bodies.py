"""Every body that is sent to a server has a golden file, and a server that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from node.server import Server

import mappings
from hybrid_search.config import Bm25, Fusion, IndexSettings
from hybrid_search.engines.opensearch import requests
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.setup import ServerOptions, index_body
from hybrid_search.errors import ConfigError
from hybrid_search.filter_parser import parse_filter

Compare = Callable[[str, Any], None]

FIELDS = {"year": "long", "lang": "keyword", "score": "double", "open": "boolean", "a.b c": "keyword"}
PASSAGES = IndexSettings(fingerprint="0123", dimension=3, similarity="dot", bm25=Bm25(k1=0.9, b=0.4), fields=FIELDS)
VECTOR = [0.5, -0.25, 1.0]
FILTER = parse_filter("lang = en and (year >= 2020 or not score < 0.5) and open = true and lang in (en, de)")

INDEXES = {
    "index-passages": index_body(PASSAGES, ServerOptions()),
    "index-passages-cosine": index_body(PASSAGES.replace(similarity="cosine"), ServerOptions(shards=3, replicas="1-2")),
    "index-passages-l2": index_body(PASSAGES.replace(similarity="l2"), ServerOptions(m=32, ef_construction=256)),
    "index-texts": index_body(IndexSettings(analyzer="plain"), ServerOptions()),
    "index-towers": mappings.render("index/towers"),
}

SEARCHES = {
    "search-lexical": requests.lexical("what is bm25", 10),
    "search-lexical-filtered": requests.lexical("what is bm25", 10, FILTER),
    "search-dense": requests.dense(VECTOR, 10),
    "search-dense-filtered": requests.dense(VECTOR, 300, FILTER),
    "search-dense-exact": requests.exact_dense(VECTOR, 10, "dot", FILTER),
    "search-hybrid": requests.hybrid("what is bm25", VECTOR, 10, Fusion()),
    "search-hybrid-without-vector": requests.hybrid("what is bm25", None, 10, Fusion(window=50)),
    "search-hybrid-filtered": requests.hybrid("what is bm25", VECTOR, 10, Fusion(), filter=FILTER),
    "search-hybrid-filtered-2.19": requests.hybrid(
        "what is bm25", VECTOR, 10, Fusion(), filter=FILTER, filter_in_hybrid=False
    ),
    "search-hybrid-geometric": requests.hybrid("a", VECTOR, 10, Fusion(combination="geometric", weights=(0.3, 0.7))),
    "search-hybrid-harmonic": requests.hybrid("a", VECTOR, 10, Fusion(combination="harmonic", weights=(0.3, 0.7))),
    "search-hybrid-l2": requests.hybrid("a", VECTOR, 10, Fusion(method="l2")),
    "search-hybrid-z-score": requests.hybrid("a", VECTOR, 10, Fusion(method="z_score")),
    "search-hybrid-rrf": requests.hybrid("a", VECTOR, 10, Fusion(method="rrf", rank_constant=10, weights=(0.3, 0.7))),
    "search-leg-bm25": requests.legs("what is bm25", VECTOR, 200, FILTER)[0],
    "search-leg-knn": requests.legs("what is bm25", VECTOR, 200, FILTER)[1],
    "search-all-comparisons": requests.lexical(
        "a", 1, parse_filter("exists(year) and year > 1 and year <= 9 and year < 9 and lang != en")
    ),
}


@pytest.fixture(scope="module")
def client(opensearch_server: Server) -> Iterator[Client]:
    with closing(Client(Address.parse(f"{opensearch_server.location}/golden"))) as client:
        yield client


@pytest.fixture(scope="module")
def index(client: Client) -> Iterator[str]:
    client.call("DELETE", "/golden", ignore_unavailable="true")
    client.call("PUT", "/golden", INDEXES["index-passages"])
    yield "golden"
    client.call("DELETE", "/golden")


@pytest.mark.parametrize("name", sorted(INDEXES | SEARCHES))
def test_a_body_is_what_was_written_down(name: str, matches_golden: Compare) -> None:
    matches_golden(name, (INDEXES | SEARCHES)[name])


def test_faiss_is_named_where_it_is_wanted(matches_golden: Compare) -> None:
    # Only the golden file: the node that the tests put together has no native libraries and dies of a faiss index.
    matches_golden("index-passages-faiss", index_body(PASSAGES, ServerOptions(knn_engine="faiss")))


@pytest.mark.opensearch
@pytest.mark.parametrize("name", sorted(INDEXES))
def test_the_server_takes_an_index(name: str, client: Client) -> None:
    client.call("DELETE", "/golden-index", ignore_unavailable="true")
    assert client.call("PUT", "/golden-index", INDEXES[name])["acknowledged"]
    client.call("DELETE", "/golden-index")


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
