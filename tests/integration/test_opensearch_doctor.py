"""The doctor on a healthy node, and on one with each fault planted that can be, mended by the command it prints."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Home
from node.server import Server

from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.doctor.vitals import Finding
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.tower_files import companion_of, record_of, store_towers
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.writing.load_settings import HeldSettings, while_loading
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

NAME = "looked-over"
FINGERPRINT = "5ee1" * 16
SETTINGS = IndexSettings(dimension=2, fingerprint=FINGERPRINT)
SETTLED = f"/{NAME}/_settings"


@pytest.fixture(scope="module")
def location(opensearch_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A healthy index, which each test leaves as healthy."""
    location = f"{opensearch_server.location}/{NAME}"
    OpenSearchEngine.drop(location)
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        engine.add([Document(id, f"text {id}") for id in "abc"], np.eye(3, 2, dtype=np.float32) + 0.5)
        engine.commit()
    give_towers(location, tmp_path_factory.mktemp("towers"))
    yield location
    OpenSearchEngine.drop(location)


def give_towers(location: str, folder: Path) -> None:
    (folder / "query.onnx").write_bytes(b"towers")
    with closing(Client(Address.parse(location))) as client:
        store_towers(client, NAME, FINGERPRINT, [folder / "query.onnx"])


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client


def faults(location: str, *subjects: str) -> list[Finding]:
    return [one for one in diagnose(location).findings if one.severity != "note" and one.subject in subjects]


def run(command: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, and the commands are for it")
    done = subprocess.run(f"{command} -sSf", shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr} {done.stdout}"


def change(**settings: Any) -> Callable[[Client], None]:
    named = {"index." + name.replace("__", "."): value for name, value in settings.items()}
    return lambda client: client.call("PUT", SETTLED, named)


def say_three(client: Client) -> None:
    meta = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"]
    meta["hybrid_search"]["dimension"] = 3
    client.call("PUT", f"/{NAME}/_mapping", {"_meta": meta})


def be_killed_while_loading(client: Client) -> None:
    uuid = client.call("GET", f"/{NAME}/_settings", flat_settings="true")[NAME]["settings"]["index.uuid"]
    held = HeldSettings(client, NAME, uuid)
    held.hold(while_loading(without_replicas=True, without_graphs=False))
    held._stop_beating()


def close(client: Client) -> None:
    client.call("POST", f"/{NAME}/_close")


OF_THE_INDEX = {
    "pipeline": (change(search__default_pipeline="gone"), "'gone' is not on the server"),
    "refresh": (change(refresh_interval="-1"), "refreshing is off"),
    "replicas": (change(auto_expand_replicas="false", number_of_replicas=0), "no replicas"),
    "health": (change(auto_expand_replicas="false", number_of_replicas=2), "2 copies beside the first want 3 nodes"),
    "blocked": (change(blocks__read_only_allow_delete=True), "a full disk does that"),
    "graphs": (change(knn__advanced__approximate_threshold=-1), "no graph is built"),
    "dimension": (say_three, "says that vectors have 3 numbers, the field has 2"),
    "held_settings": (be_killed_while_loading, "it was killed"),
    "closed": (close, "it is closed"),
}


def test_a_healthy_index_has_no_faults(location: str) -> None:
    assert faults(location, NAME, "server") == []


@pytest.mark.parametrize("check", OF_THE_INDEX)
def test_a_fault_of_the_index_is_found_and_mended_by_the_command(check: str, location: str, client: Client) -> None:
    plant, told = OF_THE_INDEX[check]
    plant(client)
    (fault,) = faults(location, NAME)
    assert fault.check == check
    assert told in fault.fault
    for command in fault.mend:
        run(command)
    client.call("GET", f"/_cluster/health/{NAME}", wait_for_status="green")
    assert faults(location, NAME) == []


def test_an_index_that_is_bound_to_a_node_that_is_not_there_is_red(opensearch_server: Server, client: Client) -> None:
    nowhere = {"index.routing.allocation.require._name": "nowhere", "index.number_of_replicas": 0}
    client.call("PUT", f"/{NAME}-red", {"settings": nowhere}, wait_for_active_shards="0")
    try:
        place = f"{opensearch_server.location}/{NAME}-red"
        red = next(one for one in faults(place, f"{NAME}-red") if one.check == "health")
        assert red.severity == "error"
        assert (
            'node does not match index setting [index.routing.allocation.require] filters [_name:"nowhere"]'
            in red.fault
        )
        run(red.mend[0])
        client.call("GET", f"/_cluster/health/{NAME}-red", wait_for_status="green")
        # It is not ours, and that stays.
        assert {one.check for one in faults(place, f"{NAME}-red")} == {"origin", "replicas"}
    finally:
        client.call("DELETE", f"/{NAME}-red")


def test_towers_that_are_missing_and_documents_without_vectors(location: str, client: Client, tmp_path: Path) -> None:
    client.call("DELETE", f"/{companion_of(FINGERPRINT)}")
    with OpenSearchEngine.open(location, writable=True) as engine:
        engine.add([Document("d", "bare")], None)
        engine.commit()
        told = {one.check: one.fault for one in faults(location, NAME)}
        engine.delete(["d"])
        engine.commit()
    give_towers(location, tmp_path)
    assert told.keys() == {"towers", "vectors"}
    assert "5ee15ee15ee1" in told["towers"]
    assert "1 of 4 documents have no vector" in told["vectors"]
    assert faults(location, NAME) == []


def test_towers_of_another_model_in_the_place_of_the_right_ones(location: str, client: Client, tmp_path: Path) -> None:
    noted = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"]["towers"]
    record = f"/{companion_of(FINGERPRINT)}/_doc/{record_of(noted)}"
    stored = client.call("GET", record)["_source"]
    client.call("PUT", record, {**stored, "fingerprint": "0ther" * 12})
    (fault,) = faults(location, NAME)
    assert fault.fault == "its vectors are of 5ee15ee15ee1, the towers stored for it are 0ther0ther0t"
    give_towers(location, tmp_path)
    assert faults(location, NAME) == []


def test_names_that_stand_for_no_index_or_for_several(location: str, client: Client) -> None:
    server = location.removesuffix(f"/{NAME}")
    assert faults(f"{server}/{NAME}-none", f"{NAME}-none")[0].fault == "there is no index or alias of this name"
    client.call("PUT", f"/{NAME}-other", {})
    try:
        both = [{"add": {"index": f"{NAME}{end}", "alias": f"{NAME}-alias"}} for end in ("", "-other")]
        client.call("POST", "/_aliases", {"actions": both})
        alias = f"{server}/{NAME}-alias"
        (fault,) = faults(alias, f"{NAME}-alias")
        assert f"stands for {NAME}, {NAME}-other" in fault.fault
        run(fault.mend[0])
        assert faults(alias, f"{NAME}-alias") == []
    finally:
        client.call("DELETE", f"/{NAME}-other")


def test_an_alias_that_lets_no_writes_through(location: str, client: Client) -> None:
    add = {"add": {"index": NAME, "alias": f"{NAME}-alias", "is_write_index": False}}
    client.call("POST", "/_aliases", {"actions": [add]})
    alias = f"{location}-alias"
    (fault,) = faults(alias, f"{NAME}-alias")
    run(fault.mend[0])
    assert faults(alias, f"{NAME}-alias") == []


def _disk(**marks: str) -> dict[str, str]:
    of_disks = "cluster.routing.allocation.disk."
    named = {f"{of_disks}watermark.{name}": value for name, value in marks.items()}
    return {f"{of_disks}threshold_enabled": "true", **named}


OF_THE_CLUSTER = {
    "disks": (_disk(low="900tb", high="2b", flood_stage="1b"), "past the mark low (900tb)"),
    "allocation": ({"cluster.routing.allocation.enable": "primaries"}, "shards are not placed"),
    "blocks": ({"cluster.blocks.read_only": "true"}, "nothing can be written"),
    "breakers": ({"indices.breaker.total.limit": "8%"}, "requests are refused"),
}


@pytest.mark.parametrize("check", OF_THE_CLUSTER)
def test_a_fault_of_the_cluster_is_found_and_mended_by_the_command(check: str, location: str, client: Client) -> None:
    settings, told = OF_THE_CLUSTER[check]
    try:
        client.call("PUT", "/_cluster/settings", {"transient": settings})
        found = [one for one in diagnose(location).findings if one.check == check and one.severity != "note"]
        assert told in found[0].fault
        run(found[0].mend[0])
        assert not [one for one in diagnose(location).findings if one.check == check and one.severity != "note"]
    finally:
        client.call("PUT", "/_cluster/settings", {"transient": dict.fromkeys(settings)})


def test_the_command_line_says_healthy_or_what_is_wrong_by_its_exit_code(
    home: Home, location: str, client: Client
) -> None:
    healthy = home.run("doctor", "--from", location, "--format", "json")
    assert [one for one in healthy.json["findings"] if one["subject"] == NAME] == []
    assert {one["name"]: one["has"] for one in healthy.json["abilities"]}["k-NN plugin"]
    client.call("PUT", SETTLED, {"index.search.default_pipeline": "gone"})
    told = home.run("doctor", "--from", location)
    assert told.code == 4
    assert "error: looked-over: its default search pipeline 'gone' is not on the server" in told.out
    assert (
        f"/{NAME}/_settings -H 'content-type: application/json' -d '{{\"index.search.default_pipeline\":null}}'"
        in told.out
    )
    client.call("PUT", SETTLED, {"index.search.default_pipeline": None})
    lines = home.run("doctor", "--from", location, "--model", home.model, "--format", "jsonl")
    assert lines.code == 4
    assert f"its vectors have 2 numbers, those of {home.model} have 32" in lines.out


def test_a_folder_is_sent_to_info(home: Home) -> None:
    refused = home.run("doctor", "--from", home.index)
    assert refused.code == 2
    assert "info --verify" in refused.err
