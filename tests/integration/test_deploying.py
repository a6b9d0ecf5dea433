"""Towers deployed in a cluster: what is made, what is left alone, what a failure leaves, what is removed."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import run
from in_cluster import plain
from made_models import make_model
from node.process import LocalNode
from node.secured import PASSWORD, SecuredNode
from node.server import Server

from hybrid_search.config import IndexSettings
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.aliases import write_mark
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.connecting import connected
from hybrid_search.engines.opensearch.connection import Connection
from hybrid_search.engines.opensearch.doctor import diagnose
from hybrid_search.engines.opensearch.marks import Mark
from hybrid_search.engines.opensearch.serving import models
from hybrid_search.engines.opensearch.serving.deployment import find_deployment, read_record
from hybrid_search.errors import (
    AccessDenied,
    ConfigError,
    HybridSearchError,
    ModelError,
    ModelMismatch,
    SearchIndexError,
    Unreachable,
    UnsupportedCapability,
)
from hybrid_search.retriever import Retriever
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx_encoder import OnnxEncoder
from hybrid_search.towers.packed import PackedTower
from hybrid_search.types import Document
from hybrid_search.workflows import deploying
from hybrid_search.workflows.deploying import Connector, deploy, undeploy
from hybrid_search.workflows.server_indexes import roll_back
from hybrid_search.workflows.serving_towers import TowerServer

pytestmark = pytest.mark.opensearch

DOCUMENTS = [
    Document("tides", "the moon pulls the sea and the harbour falls dry"),
    Document("bread", "knead the dough and bake a loaf", title="flour and yeast"),
    Document("bees", "honey in the comb of a hive"),
]
HYBRID = {"hybrid": {"queries": [
    {"match": {"searchable": "honey"}}, {"neural": {"vector": {"query_text": "honey", "k": 5}}},
]}}  # fmt: skip


@dataclass(frozen=True)
class Towers:
    """Two checkpoints."""

    first: Path
    second: Path


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Towers]:
    folder = tmp_path_factory.mktemp("towers")
    texts = [document.searchable_text for document in DOCUMENTS]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HYBRID_SEARCH_CACHE", str(folder / "cache"))
        yield Towers(make_model(folder / "one", texts, seed=1), make_model(folder / "two", texts, seed=2))


def fill(location: str, model: Path) -> str:
    encoder = OnnxEncoder.load(model, threads=1)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint)
    with OpenSearchEngine.create(location, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        Retriever(encoder, engine).add(DOCUMENTS)
    return location


@pytest.fixture
def index(ml_server: Server, towers: Towers) -> Iterator[str]:
    """An index of the first towers on a server that has nothing else of ours."""
    location = fill(f"{ml_server.location}/served", towers.first)
    yield location
    undeploy(location)
    OpenSearchEngine.drop(location)


def state_of(url: str, index: str = "served") -> dict[str, Any]:
    """All that a deployment touches; the server's own clocks and counters left out."""
    named = {"query": {"prefix": {"name.keyword": "hybrid-search-"}}}
    everything = {"query": {"exists": {"field": "model_state"}}, "_source": ["name", "model_state"], "size": 100}
    settings = plain(url, "GET", f"/{index}/_settings?flat_settings=true").body[index]["settings"]
    return {
        "settings": {name: value for name, value in settings.items() if "pipeline" in name},
        "meta": plain(url, "GET", f"/{index}/_mapping").body[index]["mappings"]["_meta"],
        "mapping": plain(url, "GET", f"/{index}/_mapping").body[index]["mappings"]["properties"],
        "ingest": plain(url, "GET", "/_ingest/pipeline").body,
        "search": plain(url, "GET", "/_search/pipeline").body,
        "scripts": plain(url, "GET", f"/_scripts/hybrid-search-{index}").body,
        "cluster": plain(url, "GET", "/_cluster/settings").body,
        "groups": ids(plain(url, "POST", "/_plugins/_ml/model_groups/_search", named).body),
        "models": ids(plain(url, "POST", "/_plugins/_ml/models/_search", everything).body),
    }


def ids(answer: Mapping[str, Any]) -> set[str]:
    return {hit["_id"] for hit in answer.get("hits", {}).get("hits", ())}


def check_documents_as_text(url: str) -> None:
    """A document keeps the vector that it brings; one without a known word has none, and one without text is taken."""
    brought = [1.0] + [0.0] * 15
    written = {"brought": {"text": "honey", "vector": brought}, "unknown": {"text": "漢字"}, "blank": {}}
    for id, source in written.items():
        assert plain(url, "PUT", f"/served/_doc/{id}", source).status == 201
    kept = {id: plain(url, "GET", f"/served/_doc/{id}").body["_source"] for id in written}
    assert kept["brought"]["vector"] == brought
    assert kept["brought"]["id"] == "brought"
    assert kept["brought"]["added"] > 1_700_000_000_000_000_000
    assert kept["unknown"].keys() == {"id", "added", "text"}
    assert kept["blank"].keys() == {"id", "added"}


def cluster(url: str, settings: Mapping[str, Any]) -> None:
    assert plain(url, "PUT", "/_cluster/settings", {"persistent": settings}).status == 200


def test_after_a_deployment_plain_text_is_enough_and_again_nothing_changes_and_undeploying_leaves_no_trace(
    ml_server: Server, index: str
) -> None:
    before = state_of(ml_server.url)
    made = deploy(index)
    kinds = [what.split(" ")[0] for what in made.outcome.made]
    assert kinds[:6] == ["model", "model", "model", "ingest", "search", "search"]
    assert kinds[6:] == ["index.default_pipeline", "index.search.default_pipeline"]
    assert made.outcome.cosine > 0.9999
    plain(ml_server.url, "PUT", "/served/_doc/clocks?refresh=true", {"text": "the hive of the bees is full of honey"})
    found = plain(ml_server.url, "POST", "/served/_search", {"query": HYBRID}).ids
    assert set(found[:2]) == {"bees", "clocks"}
    check_documents_as_text(ml_server.url)
    after = state_of(ml_server.url)
    again = deploy(index)
    assert again.outcome.made == ()
    assert again.outcome.deployment == made.outcome.deployment
    assert state_of(ml_server.url) == after
    with pytest.raises(SearchIndexError, match="take them away first, with hybrid-search undeploy"):
        OpenSearchEngine.drop(index)
    name, removed = undeploy(index)
    assert name == "served"
    assert len(removed) == len(made.outcome.made)
    assert state_of(ml_server.url) == before
    assert undeploy(index) == ("served", [])


def test_what_is_missing_of_a_deployment_is_made_again_and_nothing_else(
    ml_server: Server, index: str, tmp_path: Path
) -> None:
    first = deploy(index).outcome.deployment
    plain(ml_server.url, "PUT", "/served/_settings", {"index.search.default_pipeline": None})
    plain(ml_server.url, "DELETE", "/_search/pipeline/hybrid-search-served")
    plain(ml_server.url, "POST", f"/_plugins/_ml/models/{first.query_model}/_undeploy")
    (finding,) = [one for one in diagnose(index).findings if one.check == "deployment"]
    assert finding.mend == (f"hybrid-search deploy --to {index}",)
    for what in ("query tower's model", "/_search/pipeline/hybrid-search-served is missing", "default_pipeline is not"):
        assert what in finding.fault
    mended = deploy(index).outcome
    assert not [one for one in diagnose(index).findings if one.check == "deployment"]
    assert mended.made == (
        "served-query-" + first.fingerprint[:16] + " loaded",
        "search pipeline hybrid-search-served",
        "index.search.default_pipeline of served",
    )
    assert mended.deployment == first
    ran = run("deploy", "--to", index, "--format", "json", cwd=tmp_path)
    assert (ran.code, ran.json["made"], ran.json["query_model"]) == (0, [], first.query_model), ran.err
    assert "POST /served/_search/template" in (tmp_path / "requests.http").read_text()
    ran = run("undeploy", index, "--format", "json", cwd=tmp_path)
    assert (ran.code, ran.json["index"], len(ran.json["removed"])) == (0, "served", 8), ran.err


def test_another_model_than_the_indexs_is_refused(index: str, towers: Towers) -> None:
    with pytest.raises(ModelMismatch, match="deploy the model of the index, or make its vectors anew"):
        deploy(index, model=towers.second)


def test_cluster_settings_are_named_and_changed_only_when_allowed_and_set_back(ml_server: Server, index: str) -> None:
    name = "plugins.ml_commons.allow_registering_model_via_local_file"
    cluster(ml_server.url, {name: "false"})
    try:
        before = state_of(ml_server.url)
        with pytest.raises(ConfigError, match=f'--allow-settings.*needed: {{"{name}":true}}. Nothing'):
            deploy(index)
        assert state_of(ml_server.url) == before
        deploy(index, allow_settings=True)
        undeploy(index)
        assert state_of(ml_server.url) == before
    finally:
        cluster(ml_server.url, {name: None})


def test_an_open_memory_breaker_ends_it_and_leaves_nothing(ml_server: Server, index: str) -> None:
    name = "plugins.ml_commons.jvm_heap_memory_threshold"
    before = state_of(ml_server.url)
    cluster(ml_server.url, {name: 1})
    try:
        with pytest.raises(SearchIndexError, match=r"Breaker is open.*native_memory_threshold.*Nothing of it is left"):
            deploy(index)
    finally:
        cluster(ml_server.url, {name: None})
    assert state_of(ml_server.url) == before


def test_bytes_that_changed_on_their_way_are_refused_and_leave_nothing(
    ml_server: Server, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(ml_server.url)
    with monkeypatch.context() as patched:
        patched.setattr(PackedTower, "sha256", property(lambda tower: "0" * 64))
        with pytest.raises(SearchIndexError, match=r"model content changed.*SHA-256.*Nothing of it is left"):
            deploy(index)
    assert state_of(ml_server.url) == before


def test_an_interruption_leaves_nothing_and_says_so_and_a_second_one_names_what_clears_the_rest(
    ml_server: Server, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = state_of(ml_server.url)
    serving = "hybrid_search.engines.opensearch.serving.deploying"
    with monkeypatch.context() as patched:
        patched.setattr(f"{serving}.load_model", interrupt)
        with pytest.raises(KeyboardInterrupt) as once:
            deploy(index)
        assert once.value.__notes__ == ["Nothing of it is left on the server, and served is as it was."]
        assert state_of(ml_server.url) == before
        patched.setattr(f"{serving}.delete_model", interrupt)
        with pytest.raises(KeyboardInterrupt) as twice:
            deploy(index)
    (note,) = twice.value.__notes__
    assert "model served-query-" in note
    assert "hybrid-search undeploy, or the same deploy once more, clears it" in note
    undeploy(index)
    assert state_of(ml_server.url) == before


def test_a_packed_tower_that_is_not_the_checkpoint_is_never_sent(
    ml_server: Server, index: str, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(ml_server.url)
    pack = deploying.pack_tower
    with monkeypatch.context() as patched:
        patched.setattr(deploying, "pack_tower", lambda folder, tower: pack(towers.second, tower))
        with pytest.raises(ModelError, match="another vector than the checkpoint"):
            deploy(index)
    assert state_of(ml_server.url) == before


def test_a_server_without_ml_commons_is_told_apart(
    opensearch_server: Server, ml_server: Server, towers: Towers
) -> None:
    if "opensearch-ml " in opensearch_server.describe():
        pytest.skip("the server of the other tests has ml-commons")
    location = fill(f"{opensearch_server.location}/not-served", towers.first)
    try:
        with pytest.raises(UnsupportedCapability, match=r"no plugin opensearch-ml .*query without --in-cluster"):
            deploy(location)
    finally:
        OpenSearchEngine.drop(location)


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
                patched.setattr("hybrid_search.engines.opensearch.serving.deploying.check_outside", lambda *asked: None)
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
            write_mark(client, Address.parse(location).index, Mark(alias="family", state="ready"))
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


def test_the_next_index_of_an_alias_brings_its_towers_along_and_no_search_by_text_fails(
    ml_server: Server, towers: Towers, tmp_path: Path
) -> None:
    (data := tmp_path / "data").mkdir()
    (data / "documents.jsonl").write_text(
        "".join(json.dumps({"id": one.id, "text": one.text, "title": one.title}) + "\n" for one in DOCUMENTS)
    )
    server, alias = ml_server.location, f"{ml_server.location}/pages"
    to_alias = ("--alias", "pages", "--to", server, "--threads", 1, "--least-recall", 0)
    loaded = run("load", "jsonl", "--path", data, *to_alias, "--model", towers.first, cwd=tmp_path)
    assert loaded.code == 0, loaded.err
    failures: list[int] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            answer = plain(ml_server.url, "POST", "/pages/_search", {"query": HYBRID})
            if answer.status != 200 or answer.ids[0] != "bees":
                failures.append(answer.status)

    try:
        first = deploy(alias).outcome.deployment
        assert (first.index, first.family) == ("pages-000001", "pages")
        thread = threading.Thread(target=search)
        thread.start()
        swapped = run("reindex", "--model", towers.second, *to_alias, cwd=tmp_path)
        ended.set()
        thread.join()
        assert swapped.code == 0, swapped.err
        assert failures == []
        with closing(Client(Address.parse(alias))) as client:
            second = find_deployment(client, "pages")
            assert second is not None
            assert (second.index, second.model_group) == ("pages-000002", first.model_group)
            assert second.query_model != first.query_model
            assert {model.id for model in models.find_models(client, first.model_group)} == {
                first.query_model, first.document_model, second.query_model, second.document_model
            }  # fmt: skip
            undeploy(f"{server}/pages-000001")
            assert plain(ml_server.url, "POST", "/pages/_search", {"query": HYBRID}).ids[0] == "bees"
            with pytest.raises(SearchIndexError, match="searches by text would fail; deploy them first"):
                roll_back(Address.parse(alias))
    finally:
        ended.set()
        for name in ("pages-000002", "pages-000001"):
            undeploy(f"{server}/{name}")
            OpenSearchEngine.drop(f"{server}/{name}")


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
        patched.setattr("hybrid_search.engines.opensearch.serving.deploying.load_model", killing)
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
    with connected(replace(admin, user="reader")), pytest.raises(AccessDenied, match="Nothing of it is left"):
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
