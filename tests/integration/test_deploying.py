"""Towers deployed in a cluster: what is made, what is left alone, what a failure leaves, what is removed."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import run
from in_cluster import plain
from node.server import Server
from served import DOCUMENTS, HYBRID, Towers, fill, state_of

import hybrid_search
from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import find_deployment
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import ConfigError, ModelError, ModelMismatch, SearchIndexError, UnsupportedCapability
from hybrid_search.in_cluster import deploy as deploying
from hybrid_search.in_cluster import ml_commons as models
from hybrid_search.in_cluster.deploy import deploy, undeploy
from hybrid_search.indexes import roll_back
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.towers.onnx.packed import PackedTower
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

ANSWERS = [
    Document("doctor", "A physician treats illnesses and injuries of people."),
    Document("car", "The automobile needs petrol and four wheels to move along a road."),
    Document("bread", "Bread rises because yeast makes gas in the dough."),
    Document("bank", "Interest rates set by the central bank make borrowing dearer."),
]
QUESTIONS = ("who do I see when I feel sick", "what does a car run on", "cost of loans for people", "dough")


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
    plain(ml_server.url, "DELETE", "/_search/pipeline/hybrid-search-served")
    assert {one.mend for one in diagnose(index).findings if "pipeline" in one.fault} == {
        (f"hybrid-search deploy --to {index}",)
    }
    deploy(index)
    ran = run("deploy", "--to", index, "--format", "json", cwd=tmp_path)
    assert (ran.code, ran.json["made"], ran.json["query_model"]) == (0, [], first.query_model), ran.err
    assert "POST /served/_search/template" in (tmp_path / "requests.http").read_text()
    (tmp_path / "requests.http").write_text("GET /mine")
    ran = run("deploy", "--to", index, "--format", "json", cwd=tmp_path)
    assert (ran.code, ran.json["requests"]) == (0, None)
    assert "requests.http is another file and stays as it is; --requests FILE writes" in ran.err
    assert (tmp_path / "requests.http").read_text() == "GET /mine"
    ran = run("deploy", "--to", index, "--requests", "requests.http", "--format", "json", cwd=tmp_path)
    assert ran.json["requests"] == "requests.http"
    assert "POST /served/_search/template" in (tmp_path / "requests.http").read_text()
    ran = run("undeploy", index, "--format", "json", cwd=tmp_path)
    assert (ran.code, ran.json["index"], len(ran.json["removed"])) == (0, "served", 8), ran.err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ("--pipeline", "plain", "--default-pipeline"),
            "Leave --default-pipeline out .* or run hybrid-search undeploy",
        ),
        (("--pipeline", "hybrid-search-served"), "that of towers in the cluster .*; give another name"),
    ],
)
def test_a_load_does_not_take_away_the_pipeline_that_searches_by_text_need(
    ml_server: Server, index: str, tmp_path: Path, asked: tuple[str, ...], said: str
) -> None:
    deploy(index)
    before = state_of(ml_server.url)
    (data := tmp_path / "data").mkdir()
    (data / "documents.jsonl").write_text(json.dumps({"id": "new", "text": "a new page"}) + "\n")
    refused = run("load", "jsonl", "--path", data, "--to", index, *asked, cwd=tmp_path)
    assert refused.code == 2
    assert re.search(said, refused.err), refused.err
    assert state_of(ml_server.url) == before
    taken = run("load", "jsonl", "--path", data, "--to", index, "--pipeline", "plain", cwd=tmp_path)
    assert taken.code == 0, taken.err
    assert plain(ml_server.url, "POST", "/served/_search", {"query": HYBRID}).ids[0] == "bees"
    plain(ml_server.url, "DELETE", "/_search/pipeline/plain")


def test_the_model_that_comes_with_the_package_gives_its_hits_to_plain_requests(ml_server: Server) -> None:
    location = f"{ml_server.location}/shipped"
    hybrid_search.load(Corpus("answers", lambda: iter(ANSWERS)), location)
    try:
        assert deploy(location, allow_settings=True).outcome.cosine > 0.999
        with hybrid_search.open(location) as here:
            assert here.encoder is not None
            for question in QUESTIONS:
                neural = {"neural": {"vector": {"query_text": question, "k": 4}}}
                near = plain(ml_server.url, "POST", "/shipped/_search", {"query": neural})
                assert near.ids == [hit.id for hit in here.search(question, mode="knn")]
                asked = {"id": "hybrid-search-shipped", "params": {"q": question}}
                both = plain(ml_server.url, "POST", "/shipped/_search/template", asked)
                there = [(hit["_id"], pytest.approx(hit["_score"], abs=1e-3)) for hit in both.body["hits"]["hits"]]
                assert sorted(there, key=lambda one: one[0]) == sorted(
                    (hit.id, hit.score) for hit in here.search(question)
                )
    finally:
        undeploy(location)
        OpenSearchEngine.drop(location)


def test_a_fusion_that_is_set_reaches_the_pipeline_that_searches_by_text(ml_server: Server, index: str) -> None:
    first = deploy(index).outcome.deployment
    with OpenSearchEngine.open(index, writable=True) as engine:
        engine.set_fusion(engine.settings.fusion.replace(weights=(0.9, 0.1)))
    assert not [one for one in diagnose(index).findings if one.check == "deployment"]
    again = deploy(index).outcome
    assert (again.made, again.deployment) == ((), first)
    assert plain(ml_server.url, "POST", "/served/_search", {"query": HYBRID}).ids[0] == "bees"


def test_another_model_than_the_indexs_is_refused(index: str, towers: Towers) -> None:
    with pytest.raises(ModelMismatch, match="deploy the model of the index, or make its vectors anew"):
        deploy(index, model=towers.second)


def test_cluster_settings_are_named_and_changed_only_when_allowed_and_set_back(ml_server: Server, index: str) -> None:
    name = "plugins.ml_commons.allow_registering_model_via_local_file"
    cluster(ml_server.url, {name: "false"})
    try:
        before = state_of(ml_server.url)
        with pytest.raises(ConfigError, match=f'allow_settings=True.*needed: {{"{name}":true}}. Nothing'):
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
    serving = "hybrid_search.in_cluster.steps"
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


@pytest.mark.parametrize("path", ["model_groups/_register", "models/_register_meta"])
def test_an_interruption_in_the_very_request_that_makes_something_leaves_nothing(
    ml_server: Server, index: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    call = Client.call

    def interrupted(client: Client, method: str, where: str, *body: Any, **more: Any) -> Any:
        answer = call(client, method, where, *body, **more)
        if where.endswith(path):
            raise KeyboardInterrupt
        return answer

    before = state_of(ml_server.url)
    with monkeypatch.context() as patched:
        patched.setattr(Client, "call", interrupted)
        with pytest.raises(KeyboardInterrupt) as once:
            deploy(index)
    assert once.value.__notes__ == ["Nothing of it is left on the server, and served is as it was."]
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
        with pytest.raises(UnsupportedCapability, match=r"no plugin opensearch-ml .*query without `in_cluster`"):
            deploy(location)
    finally:
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
