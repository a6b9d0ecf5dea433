"""A document that is replaced between a search and the reading of its text: no answer mixes the two."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.plan import Plan, Request
from hybrid_search.location import Address
from hybrid_search.search import MODES, Mode, Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import SearchOptions

VECTORS = np.array([[1, 0]], np.float32)


class Server:
    """Answers every search with document ``a``, and counts its changes: one comes before each of the first texts.

    :param tells: hits say which version was ranked.
    """

    def __init__(self, changes: int, *, tells: bool = True) -> None:
        self.version = 1
        self.searches = 0
        self._left = changes
        self._tells = tells

    def answered(self, plan: Plan[Any]) -> Any:
        try:
            request = next(plan)
            while True:
                request = plan.send(self._answer(request))
        except StopIteration as done:
            return done.value

    def _answer(self, request: Request) -> bytes:
        if request.path.endswith("/_msearch"):
            self.searches += 1
            asked = len(request.body.splitlines()) // 2
            return json.dumps({"took": 1, "responses": [self._found() for _ in range(asked)]}).encode()
        if self._left:
            self._left, self.version = self._left - 1, self.version + 1
        source = {"id": "a", "text": f"text {self.version}"}
        return json.dumps({"docs": [{"_id": "a", "found": True, "_seq_no": self.version, "_source": source}]}).encode()

    def _found(self) -> dict[str, Any]:
        hit = {"_id": "a", "_score": float(self.version), "fields": {"id": ["a"]}}
        if self._tells:
            hit["_seq_no"] = self.version
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return {"_shards": shards, "hits": {"hits": [hit]}, "status": 200}


@pytest.fixture
def reading() -> Reading:
    address = Address.parse("opensearch://localhost:9200/passages")
    settings = IndexSettings(fingerprint="f", dimension=2)
    server = ServerCapabilities((3, 6, 0), {"opensearch-knn": "3.6.0.0", "opensearch-neural-search": "3.6.0.0"})
    return Reading(address, settings, server, SearchOptions())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("changes", [0, 1, 3])
def test_a_search_is_made_again_until_the_text_is_the_one_that_was_ranked(
    reading: Reading, mode: Mode, changes: int
) -> None:
    server = Server(changes)
    [[hit]] = server.answered(reading.search(Search.of(["sea"], 1, mode, vectors=VECTORS)))
    assert (hit.text, hit.score) == (f"text {changes + 1}", changes + 1.0)
    assert server.searches == changes + 1


def test_a_document_that_changes_all_the_time_is_left_out_in_the_end(reading: Reading) -> None:
    server = Server(100)
    assert server.answered(reading.search(Search.of(["sea"], 1, "bm25"))) == [[]]
    assert server.searches == 5


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_tells_no_version_is_taken_as_it_is(reading: Reading, mode: Mode) -> None:
    server = Server(1, tells=False)
    [[hit]] = server.answered(reading.search(Search.of(["sea"], 1, mode, vectors=VECTORS)))
    assert (hit.text, server.searches) == ("text 2", 1)
