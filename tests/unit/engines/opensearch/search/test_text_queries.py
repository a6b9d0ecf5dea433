"""Queries that go to the server as texts: what is sent, and what becomes of a text that the tower knows no word of."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.search.bodies import EncodedThere, Hybrid, dense
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.plan import Plan, Request
from hybrid_search.errors import SearchIndexError, UsageError
from hybrid_search.filters import Term
from hybrid_search.location import Address
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import INDEX_DEFAULT, SearchOptions
from hybrid_search.types import Leg, Ranking

FUSION = Fusion(weights=(0.3, 0.7), window=50)
TEXT = EncodedThere("ebb", "tower-1")
FILTER = Term("year", 2001)
SHOWN_FILTER = {"term": {"metadata.year": {"value": 2001}}}


def test_a_text_stands_where_a_vector_would() -> None:
    assert dense(TEXT, 5, FILTER)["query"] == {
        "neural": {"vector": {"query_text": "ebb", "model_id": "tower-1", "k": 100, "filter": SHOWN_FILTER}}
    }
    body = Hybrid(FUSION, FILTER).body(("ebb", TEXT), 10)
    assert body["query"]["hybrid"] == {
        "queries": [
            {"match": {"searchable": {"query": "ebb"}}},
            {"neural": {"vector": {"query_text": "ebb", "model_id": "tower-1", "k": 50}}},
        ],
        "pagination_depth": 50,
        "filter": SHOWN_FILTER,
    }
    legs = Hybrid(FUSION, FILTER).legs(("ebb", TEXT))
    assert [leg["size"] for leg in legs] == [50, 50]
    assert legs[1]["query"]["neural"]["vector"]["filter"] == SHOWN_FILTER


def test_a_tower_that_the_pipeline_names_is_not_named_in_the_request() -> None:
    body = Hybrid(FUSION, through=INDEX_DEFAULT).body(("ebb", EncodedThere("ebb")), 10)
    assert body["query"]["hybrid"]["queries"][1] == {"neural": {"vector": {"query_text": "ebb", "k": 50}}}
    assert "search_pipeline" not in body


def test_half_a_character_of_a_text_becomes_one_that_json_has() -> None:
    assert dense(EncodedThere("a\ud800b", "t"), 1)["query"]["neural"]["vector"]["query_text"] == "a?b"


# What a 3.6.0 answers, cut down.
ZERO = {
    "error": {
        "root_cause": [{"type": "query_shard_exception", "reason": "failed to create query: zero vector is not …"}],
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "failed_shards": [
            {
                "shard": 0,
                "reason": {
                    "type": "query_shard_exception",
                    "reason": "failed to create query: zero vector is not supported when space type is [cosinesimil]",
                    "caused_by": {
                        "type": "illegal_argument_exception",
                        "reason": "zero vector is not supported when space type is [cosinesimil]",
                    },
                },
            }
        ],
        "caused_by": {
            "type": "query_shard_exception",
            "reason": "failed to create query: zero vector is not supported when space type is [cosinesimil]",
        },
    },
    "status": 400,
}
NOT_READY = {"error": {"type": "illegal_argument_exception", "reason": "Model not ready yet"}, "status": 400}


def answer(*pairs: tuple[str, float]) -> dict[str, Any]:
    hits = [{"_score": score, "fields": {"id": [id]}} for id, score in pairs]
    shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
    return {"_shards": shards, "hits": {"max_score": 1.0, "hits": hits}, "status": 200}


class Conversation:
    """Carries a plan out with answers that are given, and keeps the bodies of the searches."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[list[dict[str, Any]]] = []

    def carry_out(self, plan: Plan[Any]) -> Any:
        try:
            request = next(plan)
            while True:
                request = plan.send(self._answer(request))
        except StopIteration as done:
            return done.value

    def _answer(self, request: Request) -> bytes:
        if request.path == "/passages/_mget":
            ids = json.loads(request.body)["ids"]
            sources = [{"id": id, "text": f"text of {id}", "metadata": {}} for id in ids]
            docs = [{"_id": source["id"], "found": True, "_source": source} for source in sources]
            return json.dumps({"docs": docs}).encode()
        assert request.path == "/passages/_msearch"
        self.asked.append([json.loads(line) for line in request.body.splitlines()[1::2]])
        return json.dumps({"responses": self.answers.pop(0)}).encode()


@pytest.fixture
def reading() -> Reading:
    return opened("tower-1")


def opened(tower: str) -> Reading:
    server = ServerCapabilities((3, 6, 0), {"opensearch-knn": "3.6.0.0", "opensearch-neural-search": "3.6.0.0"})
    settings = IndexSettings(dimension=3, fingerprint="letters", fusion=FUSION)
    address = Address.parse("opensearch://localhost/passages")
    return Reading(address, settings, server, SearchOptions(in_cluster=bool(tower)), query_model=tower)


def test_a_text_without_a_known_word_is_asked_for_again_by_bm25_alone(reading: Reading) -> None:
    talk = Conversation(
        [answer(("a", 1.0)), answer(("a", 7.0)), answer(("a", 0.9)), ZERO, answer(("b", 4.0)), ZERO],
        [answer(("b", 1.0)), answer(("b", 4.0))],
    )
    [[known], [unknown]] = talk.carry_out(reading.search(Search.of(["ebb", "漢"], 3)))
    assert (known.id, set(known.legs)) == ("a", {"bm25", "knn"})
    assert (unknown.id, unknown.score, unknown.rank) == ("b", 1.0, 1)
    assert unknown.legs == {"bm25": Leg(4.0, 1, normalised=1.0, weight=1.0, share=1.0)}
    again = talk.asked[1][0]
    assert again["query"]["hybrid"]["queries"] == [{"match": {"searchable": {"query": "漢"}}}, {"match_none": {}}]
    processor = again["search_pipeline"]["phase_results_processors"][0]["normalization-processor"]
    assert processor["combination"]["parameters"]["weights"] == [1.0, 0.0]


def test_a_knn_search_for_a_text_without_a_known_word_finds_nothing(reading: Reading) -> None:
    talk = Conversation([ZERO, answer(("a", 0.9))])
    rankings = talk.carry_out(reading.rank(Search.of(["漢", "ebb"], 3, "knn")))
    assert rankings == [Ranking((), ()), Ranking(("a",), (0.9,))]


def test_another_failure_is_an_error(reading: Reading) -> None:
    with pytest.raises(SearchIndexError, match="Model not ready yet"):
        Conversation([NOT_READY]).carry_out(reading.rank(Search.of(["ebb"], 3, "knn")))


def test_texts_need_an_index_that_was_opened_for_them() -> None:
    with pytest.raises(UsageError, match="not opened to encode queries in the cluster"):
        Conversation().carry_out(opened("").rank(Search.of(["ebb"], 3, "knn")))


def test_a_text_has_no_exact_neighbours(reading: Reading) -> None:
    with pytest.raises(UsageError, match="can't be compared with every vector"):
        Conversation().carry_out(reading.rank(replace(Search.of(["ebb"], 3, "knn"), exact=True)))


def test_vectors_are_taken_all_the_same(reading: Reading) -> None:
    talk = Conversation([answer(("a", 0.9))])
    talk.carry_out(reading.rank(Search.near(np.array([[1, 0, 0]], np.float32), 3)))
    assert talk.asked[0][0]["query"] == {"knn": {"vector": {"vector": [1.0, 0.0, 0.0], "k": 100}}}
