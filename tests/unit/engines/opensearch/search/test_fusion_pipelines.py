"""The index's default search pipeline goes along with its fusion, if it is ours and computed the fusion of before."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hybrid_search.engines.opensearch.search.bodies import fusion_pipeline
from hybrid_search.engines.opensearch.search.fusion_pipelines import description_of, follow
from hybrid_search.engines.opensearch.transport.plan import Request, carried_out
from hybrid_search.location import Address
from hybrid_search.settings.index import Fusion

ADDRESS = Address.parse("opensearch://host:9200/passages")
BEFORE, AFTER = Fusion(weights=(0.5, 0.5)), Fusion(weights=(0.8, 0.2))
TOWERS = [{"neural_query_enricher": {"neural_field_default_id": {"vector": "model-1"}}}]


class Server:
    """Has one search pipeline, which an index may use, and takes another one."""

    def __init__(self, pipeline: dict[str, Any] | None, *, default: str = "passages-1") -> None:
        self.written: dict[str, dict[str, Any]] = {}
        self._pipeline = pipeline
        self._default = default

    def __call__(self, request: Request) -> bytes:
        if request.method == "PUT":
            self.written[request.path] = msgspec.json.decode(request.body)
            return b"{}"
        if request.path.startswith("/passages/_settings"):
            told = {"index.search.default_pipeline": self._default} if self._default else {}
            return msgspec.json.encode({"passages": {"settings": told}})
        return msgspec.json.encode({"passages-1": self._pipeline} if self._pipeline else {})


def ours(fusion: Fusion, **more: Any) -> dict[str, Any]:
    return {"description": description_of(fusion), **fusion_pipeline(fusion), **more}


def test_a_pipeline_of_the_fusion_of_before_is_replaced() -> None:
    server = Server(ours(BEFORE))
    carried_out(follow(ADDRESS, BEFORE, AFTER), server)
    assert server.written == {"/_search/pipeline/passages-1": ours(AFTER)}


def test_the_towers_that_it_names_stay_in_it() -> None:
    description = f"{description_of(BEFORE)}; queries by model abc"
    server = Server(ours(BEFORE) | {"description": description, "request_processors": TOWERS})
    carried_out(follow(ADDRESS, BEFORE, AFTER), server)
    (written,) = server.written.values()
    assert written["request_processors"] == TOWERS
    assert written["description"] == f"{description_of(AFTER)}; queries by model abc"
    assert {**written, "description": ""} == {**ours(AFTER), "request_processors": TOWERS, "description": ""}


@pytest.mark.parametrize(
    "server",
    [
        Server(None),
        Server(ours(BEFORE), default=""),
        Server(ours(Fusion(weights=(0.3, 0.7)))),
        Server({**fusion_pipeline(BEFORE), "description": "made by hand"}),
        Server({**ours(BEFORE), **fusion_pipeline(Fusion(weights=(0.3, 0.7)))}),
    ],
    ids=["missing", "no default", "another fusion", "not ours", "changed by hand"],
)
def test_any_other_pipeline_is_left_alone(server: Server) -> None:
    carried_out(follow(ADDRESS, BEFORE, AFTER), server)
    assert server.written == {}
