"""What an index on a server is told beside its settings, and how it is told apart from another one."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.index.template import check_options, index_body
from hybrid_search.engines.opensearch.search import fusion_pipelines as pipelines
from hybrid_search.errors import ConfigError, IndexExists, UnsupportedCapability, UsageError
from hybrid_search.location import Address
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import IN_QUERY, ServerOptions

PASSAGES = IndexSettings(fingerprint="0123", dimension=3)
ADDRESS = Address("localhost", 9200, "passages")


def created(options: ServerOptions) -> dict[str, Any]:
    """What the server would answer about an index made with these."""
    body = index_body(PASSAGES, options)
    index = {name: str(value) for name, value in body["settings"]["index"].items() if name != "similarity"}
    return {"settings": {"index": index}, "mappings": body["mappings"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 0}, "shards is 0; it must be a whole number from 1 to 1024"),
        ({"m": 1}, "m is 1; it must be a whole number from 2 to 512"),
        ({"ef_construction": 5_000}, "ef_construction is 5000"),
        ({"replicas": "some"}, "replicas is 'some'; it must be a number, or fewest and most such as 0-1"),
        ({"compression": "8x"}, "compression is 8x; the k-NN engine lucene has 4x, 32x"),
        ({"compression": "4x", "knn_engine": "faiss"}, "the k-NN engine faiss has 2x, 8x, 16x, 32x"),
    ],
)
def test_an_option_out_of_range_says_what_it_may_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerOptions(**options)


def test_options_about_vectors_are_refused_for_an_index_without_any() -> None:
    with pytest.raises(ConfigError, match="ef_construction, m: the index holds no vectors"):
        index_body(IndexSettings(), ServerOptions(m=16, ef_construction=100, shards=2))


def test_what_was_not_asked_for_fits_every_index() -> None:
    check_options("here", created(ServerOptions(shards=3, m=32, on_disk=True)), ServerOptions())


@pytest.mark.parametrize(
    ("held", "asked", "message"),
    [
        ({"shards": 3}, {"shards": 1}, "the index has shards 3, asked for 1"),
        ({"replicas": "1"}, {"replicas": "0-1"}, "the index has replicas 1-1, asked for 0-1"),
        ({}, {"m": 32}, "the index has m 16, asked for 32"),
        ({}, {"compression": "4x"}, "the index has compression none, asked for 4x"),
        ({"on_disk": True}, {"on_disk": False}, "the index has on_disk True, asked for False"),
        ({}, {"knn_engine": "faiss"}, "the index has knn_engine lucene, asked for faiss"),
    ],
)
def test_another_option_than_the_indexs_is_refused(held: dict[str, Any], asked: dict[str, Any], message: str) -> None:
    index = created(ServerOptions(**held))
    check_options("here", index, ServerOptions(**held))
    with pytest.raises(IndexExists, match=message):
        check_options("here", index, ServerOptions(**asked))


def test_replicas_held_back_by_a_load_are_not_compared() -> None:
    index = created(ServerOptions(replicas="1"))
    index["settings"]["index"] |= {"auto_expand_replicas": "false", "number_of_replicas": "0"}
    check_options("here", index, ServerOptions(replicas="2"))


@pytest.mark.parametrize("name", ["", "_mine", "a b", "a/b", "ä"])
def test_a_name_that_no_pipeline_can_have_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(UsageError, match="can't be a pipeline's name"):
        next(pipelines.store(ADDRESS, name, Fusion()))


@pytest.mark.parametrize(
    ("version", "switched_on", "can"), [((3, 6, 0), True, False), ((3, 10, 0), False, False), ((3, 10, 0), True, True)]
)
def test_a_fusion_inside_the_query_needs_a_server_that_has_it_switched_on(
    version: tuple[int, int, int], switched_on: bool, can: bool
) -> None:
    server = ServerCapabilities(version, {}, fusion_switched_on=switched_on)
    plan = pipelines.check(ADDRESS, IN_QUERY, Fusion(), server)
    with pytest.raises(StopIteration if can else UnsupportedCapability, match=None if can else "fusion.enabled: true"):
        next(plan)


def test_a_pipeline_says_in_words_what_it_computes() -> None:
    assert pipelines.description_of(Fusion(weights=(0.3, 0.7))) == (
        "hybrid-search: min_max, arithmetic mean, weights bm25 0.3, knn 0.7, window 200"
    )
    assert "rrf, rank constant 10" in pipelines.description_of(Fusion(method="rrf", rank_constant=10))
