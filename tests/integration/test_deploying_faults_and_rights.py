"""Deploying to a node that is killed meanwhile, and as users of few rights."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node.process import LocalNode
from node.secured import PASSWORD, SecuredNode
from served import HYBRID, Towers, fill, state_of

from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import find_deployment, read_record
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import connected
from hybrid_search.errors import AccessDenied, Unreachable
from hybrid_search.in_cluster import ml_commons as models
from hybrid_search.in_cluster.deploy import deploy, undeploy
from hybrid_search.location import Address

pytestmark = pytest.mark.opensearch


def test_a_node_that_is_killed_in_the_middle_leaves_what_the_next_undeploy_clears(
    mortal_node: LocalNode, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = fill(f"opensearch://127.0.0.1:{mortal_node.port}/served", towers.first)
    before = state_of(mortal_node.url)
    load_model = models.load_model

    def killing(client: Client, id: str, name: str) -> None:
        if "document" in name:
            mortal_node.kill()
        load_model(client, id, name)

    with monkeypatch.context() as patched:
        patched.setattr("hybrid_search.in_cluster.steps.load_model", killing)
        with pytest.raises(Unreachable, match=r"Could not be removed again: model .*hybrid-search undeploy"):
            deploy(location)
    mortal_node.start()
    wait_for(mortal_node.url)
    with closing(Client(Address.parse(location))) as client:
        left = read_record(client, "served")
        assert left is not None
        assert left.state == "making"
        assert find_deployment(client, "served") is None
    undeploy(location)
    after = state_of(mortal_node.url)
    assert after == before
    assert deploy(location).outcome.cosine > 0.9999


def wait_for(url: str) -> None:
    """Wait for a node that has been started again, and for ml-commons' own indexes in it."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(
                f"{url}/_cluster/health?wait_for_status=yellow&timeout=5s", timeout=10
            ) as answer:
                if json.load(answer)["status"] in ("yellow", "green"):
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    pytest.fail("the node did not come back")


def test_the_documented_roles_are_enough_for_deploying_searching_and_writing_by_text(
    secured_ml_node: SecuredNode, towers: Towers, tmp_path: Path
) -> None:
    admin = Connection(user="admin", password=PASSWORD, ca_certs=str(secured_ml_node.write_ca(tmp_path / "ca.pem")))
    location = f"{secured_ml_node.location}/passages"

    def asked(user: str, method: str, path: str, body: Mapping[str, Any]) -> Any:
        with closing(Client(Address.parse(location), replace(admin, user=user))) as client:
            return client.call(method, path, body)

    with connected(admin):
        fill(location, towers.first)
    with (
        connected(replace(admin, user="reader")),
        pytest.raises(AccessDenied, match=r"takes a lock first.*Nothing was changed"),
    ):
        deploy(location)
    with connected(replace(admin, user="tower_deployer")):
        assert deploy(location).outcome.cosine > 0.9999
    template = {"id": "hybrid-search-passages", "params": {"q": "honey"}}
    for path, body in (("_search", {"query": HYBRID}), ("_search/template", template)):
        assert asked("text_searcher", "POST", f"/passages/{path}", body)["hits"]["hits"][0]["_id"] == "bees"
    with pytest.raises(AccessDenied, match="indices:data/write"):
        asked("text_searcher", "PUT", "/passages/_doc/one", {"text": "honey"})
    with pytest.raises(AccessDenied, match="cluster:admin/opensearch/ml"):
        asked("reader", "POST", "/passages/_search", {"query": HYBRID})
    with connected(replace(admin, user="reader")):  # who may not ask towers still has a doctor
        findings = {one.check: one.severity for one in diagnose(location).findings}
    assert "deployment" not in findings
    assert findings["unanswered"] == "note"
    assert asked("text_writer", "PUT", "/passages/_doc/one", {"text": "honey"})["result"] == "created"
    with connected(replace(admin, user="tower_deployer")):
        undeploy(location)
    with connected(admin):
        OpenSearchEngine.drop(location)
