"""The query log is told of every search that was answered, of what the server was asked for, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.plan import Request, carried_out
from hybrid_search.errors import SearchIndexError
from hybrid_search.filters import Term
from hybrid_search.location import Address
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.types import Hit

VECTORS = np.array([[1, 0], [0, 1]], np.float32)
FUSION = Fusion(weights=(0.2, 0.8))


class Notes:
    """In the place of a log: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Search, list[list[Hit]], int | None]] = []

    def note(self, search: Search, hits: Sequence[Sequence[Hit]], took: int | None) -> None:
        self.told.append((search, [list(of_query) for of_query in hits], took))


def answer(request: Request) -> bytes:
    """Find document ``a`` with every search, in 7 ms a request."""
    if request.path.endswith("/_mget"):
        return json.dumps({"docs": [{"_id": "a", "found": True, "_source": {"id": "a", "text": "cat"}}]}).encode()
    shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
    found = {"_shards": shards, "hits": {"hits": [{"_score": 1.0, "fields": {"id": ["a"]}}]}, "status": 200}
    return json.dumps({"took": 7, "responses": [found] * (len(request.body.splitlines()) // 2)}).encode()


def failing(request: Request) -> bytes:
    raise SearchIndexError("nobody answers")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def reading(notes: Any) -> Reading:
    address = Address.parse("opensearch://localhost:9200/passages")
    settings = IndexSettings(fingerprint="f", dimension=2, fields={"lang": "keyword"}, fusion=FUSION)
    server = ServerCapabilities((3, 6, 0), {"opensearch-knn": "3.6.0.0", "opensearch-neural-search": "3.6.0.0"})
    return Reading(address, settings, server, SearchOptions(log_queries="text"), log=notes)


def test_it_is_told_what_was_asked_what_was_found_and_how_long_the_server_took(reading: Reading, notes: Notes) -> None:
    search = Search.of(["cat", "dog"], 2, vectors=VECTORS, filter=Term("lang", "en"))
    hits = carried_out(reading.search(search), answer)
    [(told, found, took)] = notes.told
    assert (told.texts, told.k, told.mode, told.filter) == (["cat", "dog"], 2, "hybrid", Term("lang", "en"))
    assert told.fusion == FUSION
    assert (found, took) == (hits, 7)
    assert [hit.id for hit in hits[0]] == ["a"]


def test_a_search_of_one_leg_has_no_fusion_and_one_that_asks_nothing_took_no_time(
    reading: Reading, notes: Notes
) -> None:
    carried_out(reading.search(Search.of(["cat"], 2, "bm25", fusion=FUSION)), answer)
    assert carried_out(reading.search(Search.of([" "], 2, "bm25")), failing) == [[]]
    assert [(told.fusion, took) for told, _, took in notes.told] == [(None, 7), (None, None)]


def test_requests_of_one_search_add_up_and_two_searches_are_told_apart(reading: Reading, notes: Notes) -> None:
    """97 searches are two requests."""
    for count in (97, 1):
        carried_out(reading.search(Search.of(["cat"] * count, 2, "bm25")), answer)
    assert [took for _, _, took in notes.told] == [14, 7]


def test_it_is_told_of_no_search_that_failed_and_of_no_ranking(reading: Reading, notes: Notes) -> None:
    with pytest.raises(SearchIndexError, match="nobody answers"):
        carried_out(reading.search(Search.of(["cat"], 2, "bm25")), failing)
    carried_out(reading.rank(Search.of(["cat"], 2, "bm25")), answer)
    assert notes.told == []
