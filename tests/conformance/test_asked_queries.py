"""Queries as people ask them: the words around the subject find nothing by themselves, on both engines alike."""

from __future__ import annotations

from contextlib import closing

import pytest
from asked import by_both, by_text
from fleas import VECTORS
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.template import index_body
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import ServerOptions
from hybrid_search.types import Document

# As in a corpus of abstracts, questions are rare: by their idf "how do i" would outweigh the scurvy.
DOCUMENTS = [
    Document("asks", "How do I know what it is about?"),
    Document("cure", "Scurvy and its cure"),
    Document("ship", "Scurvy aboard ships"),
    Document("vitamin", "Vitamin A"),
    *(Document(f"other{n}", f"Scurvy case {n}") for n in range(6)),
]
ASKED = "how do I know what the cure of scurvy is about"


@pytest.fixture
def asked_engine(engine: Engine) -> Engine:
    return filled(engine)


def filled(engine: Engine) -> Engine:
    engine.add(DOCUMENTS, VECTORS[:1].repeat(len(DOCUMENTS), axis=0) if engine.settings.dimension else None)
    engine.commit()
    return engine


def test_function_words_around_a_subject_change_nothing(asked_engine: Engine) -> None:
    asked, plain, shouted = by_text(asked_engine, [ASKED, "cure scurvy", "WHAT should I know about CURE Scurvy?"], 20)
    assert asked.ids[:2] == ("cure", "other0")
    assert "asks" not in asked.ids
    assert asked.ids == plain.ids == shouted.ids
    assert asked.scores == pytest.approx(plain.scores, rel=1e-6)


def test_a_query_of_function_words_alone_finds_them(asked_engine: Engine) -> None:
    found = by_text(asked_engine, ["how do I", "what it is", "its", "what " * 2_000], 20)
    assert [ranking.ids for ranking in found] == [("asks",), ("asks", "cure"), ("cure", "asks"), ("asks",)]


def test_a_letter_that_is_a_name_is_no_function_word(asked_engine: Engine) -> None:
    [ranking] = by_text(asked_engine, ["what is a"], 20)
    assert ranking.ids == ("vitamin",)


def test_the_bm25_leg_of_a_hybrid_is_the_same(asked_engine: Engine) -> None:
    asked, of_function_words = by_both(asked_engine, [ASKED, "how do I"], VECTORS[[0, 0]], 20)
    ranks = {hit.id: hit.legs["bm25"].rank for hit in asked if "bm25" in hit.legs}
    assert ranks["cure"] == 1
    assert "asks" not in ranks
    assert [hit.id for hit in of_function_words if "bm25" in hit.legs] == ["asks"]


@pytest.mark.opensearch
def test_a_request_of_somebody_else_is_treated_alike_by_a_new_index_and_ours_by_an_old_one(
    opensearch_server: Server,
) -> None:
    settings = IndexSettings()
    body = index_body(settings, ServerOptions())
    old = index_body(settings, ServerOptions())
    del old["mappings"]["properties"]["searchable"]["search_analyzer"]
    for name, made in (("asked-new", body), ("asked-old", old)):
        location = f"{opensearch_server.location}/{name}"
        OpenSearchEngine.drop(location)
        with closing(Client(Address.parse(location))) as client:
            client.call("PUT", f"/{name}", made)
            with OpenSearchEngine.open(location, writable=True) as engine:
                ours = by_text(filled(engine), [ASKED, "how do I"], 20)
            plain = {"query": {"match": {"searchable": ASKED}}, "size": 20, "sort": ["_score", "id"]}
            theirs = [hit["_id"] for hit in client.call("POST", f"/{name}/_search", plain)["hits"]["hits"]]
        OpenSearchEngine.drop(location)
        assert ours[0].ids[:2] == ("cure", "other0")
        assert "asks" not in ours[0].ids
        assert ours[1].ids == ("asks",)
        assert ("asks" in theirs) == (name == "asked-old")
