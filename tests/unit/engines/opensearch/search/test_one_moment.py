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
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.types import Ranking

VECTORS = np.array([[1, 0]], np.float32)


class Server:
    """Answers every search with document ``a``, and counts its changes: one comes before each of the first texts."""

    def __init__(self, changes: int) -> None:
        self.version = 1
        self._left = changes
        self.searches = 0

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
            return json.dumps({"took": 1, "responses": [self._found(leg) for leg in range(3)]}).encode()
        if self._left:
            self._left, self.version = self._left - 1, self.version + 1
        source = {"id": "a", "text": f"text {self.version}"}
        return json.dumps({"docs": [{"_id": "a", "found": True, "_seq_no": self.version, "_source": source}]}).encode()

    def _found(self, leg: int) -> dict[str, Any]:
        hit = {"_id": "a", "_score": float(self.version), "_seq_no": self.version, "fields": {"id": ["a"]}}
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return {"_shards": shards, "hits": {"hits": [hit]}, "status": 200}


@pytest.fixture
def reading() -> Reading:
    address = Address.parse("opensearch://localhost:9200/passages")
    settings = IndexSettings(fingerprint="f", dimension=2)
    server = ServerCapabilities((3, 6, 0), {"opensearch-knn": "3.6.0.0", "opensearch-neural-search": "3.6.0.0"})
    return Reading(address, settings, server, SearchOptions())


@pytest.mark.parametrize("changes", [0, 1, 3])
def test_a_hybrid_search_is_made_again_until_the_text_is_the_one_that_was_ranked(
    reading: Reading, changes: int
) -> None:
    server = Server(changes)
    [[hit]] = server.answered(reading.search_hybrid(["sea"], VECTORS, 1))
    assert (hit.text, hit.score) == (f"text {changes + 1}", changes + 1.0)
    assert server.searches == changes + 1


def test_a_hit_of_one_leg_that_was_replaced_is_left_out_so_that_it_is_ranked_again(reading: Reading) -> None:
    assert Server(1).answered(reading.hits(Ranking(("a",), (1.0,), (1,)))) == []
    [hit] = Server(0).answered(reading.hits(Ranking(("a",), (1.0,), (1,))))
    assert hit.text == "text 1"


def test_an_answer_that_tells_no_version_is_taken_as_it_is(reading: Reading) -> None:
    [hit] = Server(1).answered(reading.hits(Ranking(("a",), (1.0,), (-1,))))
    assert hit.text == "text 2"
