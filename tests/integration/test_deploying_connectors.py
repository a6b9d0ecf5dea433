"""Deploying a connector to towers that are served outside the cluster."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import Any

import pytest
from in_cluster import plain
from node.server import Server
from served import HYBRID, Towers, fill, ids, state_of

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.meta import Mark, change_mark
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import AccessDenied, ConfigError, HybridSearchError
from hybrid_search.in_cluster.deploy import Connector, deploy, undeploy
from hybrid_search.in_cluster.tower_server import TowerServer
from hybrid_search.location import Address

pytestmark = pytest.mark.opensearch


def test_towers_outside_the_cluster_are_asked_through_a_connector(
    ml_server: Server, index: str, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(ml_server.url)
    with TowerServer(towers.first, ("127.0.0.1", 0), "sesame") as outside:
        threading.Thread(target=outside.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with pytest.raises(ConfigError, match="trusted_connector_endpoints_regex"):
                deploy(index, connector=Connector(outside.url, "sesame"))
            with pytest.raises(AccessDenied, match=r"want another token.*HYBRID_SEARCH_TOWERS_TOKEN"):
                deploy(index, connector=Connector(outside.url, "wrong"), allow_settings=True)
            with monkeypatch.context() as patched:  # an address that only the nodes reach
                patched.setattr("hybrid_search.in_cluster.steps.check_outside", lambda *asked: None)
                with pytest.raises(AccessDenied, match=r"want a token.*HYBRID_SEARCH_TOWERS_TOKEN.*Nothing of it is"):
                    deploy(index, connector=Connector(outside.url, "wrong"), allow_settings=True)
            assert state_of(ml_server.url) == before
            made = deploy(index, connector=Connector(outside.url, "sesame"), allow_settings=True)
            assert made.outcome.cosine > 0.9999
            assert "sesame" not in repr(made) + json.dumps(state_of(ml_server.url), default=list)
            assert plain(ml_server.url, "POST", "/served/_search", {"query": HYBRID}).ids[0] == "bees"
            undeploy(index)
            assert state_of(ml_server.url) == before
        finally:
            outside.shutdown()


def test_a_connector_for_one_index_of_a_family_leaves_the_towers_in_the_cluster_of_another_alone(
    ml_server: Server, towers: Towers
) -> None:
    alias = f"{ml_server.location}/family"
    locations = [fill(f"{alias}-00000{number}", towers.first) for number in (2, 3)]
    older, newer = locations
    with closing(Client(Address.parse(newer))) as client:
        for location in locations:
            change_mark(client, Address.parse(location).index, lambda _: Mark(alias="family", state="ready"))
    with TowerServer(towers.first, ("127.0.0.1", 0), "sesame") as outside:
        threading.Thread(target=outside.serve_forever, args=(0.05,), daemon=True).start()
        try:
            live = deploy(newer).outcome.deployment
            assert live.family == "family"
            before = state_of(ml_server.url, "family-000003")
            with pytest.raises(HybridSearchError):
                deploy(older, connector=Connector(outside.url, "wrong"), allow_settings=True)
            assert state_of(ml_server.url, "family-000003") == before
            made = deploy(older, connector=Connector(outside.url, "sesame"), allow_settings=True).outcome.deployment
            assert not {made.query_model, made.document_model} & {live.query_model, live.document_model}
            undeploy(older)
            assert state_of(ml_server.url, "family-000003")["models"] == before["models"]
            assert deploy(newer).outcome.made == ()
        finally:
            outside.shutdown()
            for location in locations:
                undeploy(location)
                OpenSearchEngine.drop(location)


def test_an_interruption_in_the_request_that_makes_a_connector_leaves_none(
    ml_server: Server, index: str, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connectors() -> set[str]:
        everything = {"query": {"match_all": {}}, "size": 100}
        return ids(plain(ml_server.url, "POST", "/_plugins/_ml/connectors/_search", everything).body)

    call = Client.call

    def interrupted(client: Client, method: str, where: str, *body: Any, **more: Any) -> Any:
        answer = call(client, method, where, *body, **more)
        if where.endswith("connectors/_create"):
            assert connectors() > before
            raise KeyboardInterrupt
        return answer

    before = connectors()
    with TowerServer(towers.first, ("127.0.0.1", 0), "sesame") as outside, monkeypatch.context() as patched:
        threading.Thread(target=outside.serve_forever, args=(0.05,), daemon=True).start()
        patched.setattr(Client, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            deploy(index, connector=Connector(outside.url, "sesame"), allow_settings=True)
        outside.shutdown()
    assert connectors() == before
