"""Towers behind a connector: when whoever serves them ends, and when the next index takes the alias over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, run
from in_cluster import plain
from made_models import make_model
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import find_deployment
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.in_cluster.deploy import Connector, deploy, undeploy
from hybrid_search.location import Address

pytestmark = pytest.mark.opensearch

TEXTS = {"tides": "the moon pulls the sea", "bread": "knead the dough", "bees": "honey in the comb of a hive"}
HYBRID = {"hybrid": {"queries": [
    {"match": {"searchable": "honey"}}, {"neural": {"vector": {"query_text": "honey", "k": 5}}},
]}}  # fmt: skip


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """Serve a model's towers in a process of its own, killed at the end; yields the address."""
    command = [sys.executable, "-m", "hybrid_search", "serve-towers", str(model), "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(model)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


def test_the_next_index_is_refused_before_encoding_until_its_towers_are_deployed_and_a_dead_tower_is_found(
    ml_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    first, second = (make_model(tmp_path / name, list(TEXTS.values()), seed=n) for n, name in enumerate(("a", "b")))
    (data := tmp_path / "data").mkdir()
    lines = (json.dumps({"id": id, "text": text}) + "\n" for id, text in TEXTS.items())
    (data / "documents.jsonl").write_text("".join(lines))
    server, alias = ml_server.location, f"{ml_server.location}/outside"
    to_alias = ("--alias", "outside", "--to", server, "--threads", 1, "--least-recall", 0)
    try:
        loaded = run("load", "jsonl", "--path", data, *to_alias, "--model", first, cwd=tmp_path)
        assert loaded.code == 0, loaded.err
        with serving(second) as new:
            with serving(first) as old:
                deploy(alias, connector=Connector(old), allow_settings=True)
                refused = run("reindex", "--model", second, *to_alias, cwd=tmp_path)
                assert refused.code == 2, refused.err
                assert f"outside-000001 has its towers at {old}" in refused.err
                assert (
                    f"deploy --to {alias}-000002 --connector URL --model {second}; then do the same again"
                    in refused.err
                )
                assert plain(ml_server.url, "GET", "/outside-000002/_count").body["count"] == 0
                deploy(f"{alias}-000002", model=second, connector=Connector(new), allow_settings=True)
                swapped = run("reindex", "--model", second, *to_alias, cwd=tmp_path)
                assert swapped.code == 0, swapped.err
                assert "read" not in swapped.out.split()
                assert "towers of outside-000002 deployed in the cluster" in swapped.err
                assert plain(ml_server.url, "POST", "/outside/_search", {"query": HYBRID}).ids[0] == "bees"
            with closing(Client(Address.parse(alias))) as client:
                assert (live := find_deployment(client, "outside")) is not None
                assert (live.index, live.endpoint) == ("outside-000002", new)
            healthy = run("doctor", "--from", alias, cwd=tmp_path)
            assert "deployment" not in healthy.out, healthy.out
        dead = run("doctor", "--from", alias, "--format", "json", cwd=tmp_path)
        (finding,) = json.loads(dead.out)["findings"]
        assert (finding["check"], finding["severity"]) == ("deployment", "error")
        assert f"its towers at {new} do not encode" in finding["fault"]
        port = new.rpartition(":")[2]
        assert finding["mend"] == [
            f"hybrid-search serve-towers MODEL --host 127.0.0.1 --port {port}",
            f"hybrid-search deploy --to {alias}-000002 --connector {new}",
        ]
    finally:
        for name in ("outside-000002", "outside-000001"):
            undeploy(f"{server}/{name}")
            OpenSearchEngine.drop(f"{server}/{name}")
