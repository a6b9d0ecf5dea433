"""Two that deploy at the same time, in processes of their own: one waits for the other, and outlives it if it dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, run
from in_cluster import plain
from node.server import Server
from served import HYBRID, state_of

from hybrid_search.engines.opensearch.index import lock
from hybrid_search.engines.opensearch.index.lock import INDEX
from hybrid_search.in_cluster.deploy import deploy, undeploy

pytestmark = pytest.mark.opensearch

LOCK = f"/{INDEX}/_doc/serving"


@contextmanager
def deployer(index: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start ``hybrid-search deploy`` in a process of its own."""
    folder.mkdir()
    command = [sys.executable, "-m", "hybrid_search", "deploy", "--to", index, "--format", "json"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def is_making(url: str) -> bool:
    meta = plain(url, "GET", "/served/_mapping").body["served"]["mappings"]["_meta"]
    return meta.get("deployment", {}).get("query_model", "") != ""


def wait_until_making(url: str) -> None:
    """Wait until a deployer has made something."""
    until = time.monotonic() + 60
    while not is_making(url):
        assert time.monotonic() < until, "nobody deploys"
        time.sleep(0.02)


def test_of_two_deployments_at_the_same_time_one_waits_and_finds_all_there(
    ml_server: Server, index: str, tmp_path: Path
) -> None:
    with deployer(index, tmp_path / "one") as one, deployer(index, tmp_path / "two") as two:
        told = [process.communicate(timeout=120) for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], told
    made = sorted(json.loads(out)["made"] for out, _ in told)
    assert made[0] == []
    assert len(made[1]) == 8
    assert "waiting for another one to end: deploy of served (process " in told[0][1] + told[1][1]
    assert len(state_of(ml_server.url)["models"]) == 2
    assert plain(ml_server.url, "POST", "/served/_search", {"query": HYBRID}).ids[0] == "bees"
    assert plain(ml_server.url, "GET", LOCK).status == 404


def test_an_undeployment_waits_for_the_deployment_under_way_and_takes_all_of_it_away(
    ml_server: Server, index: str, tmp_path: Path
) -> None:
    before = state_of(ml_server.url)
    with deployer(index, tmp_path / "one") as one:
        wait_until_making(ml_server.url)
        ran = run("undeploy", index, "--format", "json", cwd=tmp_path)
        out, err = one.communicate(timeout=120)
    assert (one.returncode, len(json.loads(out)["made"])) == (0, 8), err
    assert (ran.code, len(ran.json["removed"])) == (0, 8), ran.err
    assert state_of(ml_server.url) == before


def test_one_that_was_killed_is_taken_over_from(
    ml_server: Server, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "_SILENCE", 5.0)
    before = state_of(ml_server.url)
    with deployer(index, tmp_path / "killed") as killed:
        wait_until_making(ml_server.url)
        killed.kill()
    made = deploy(index).outcome
    assert "gave no sign of life for 5 s; going on without it" in caplog.text
    assert made.cosine > 0.9999
    assert len(state_of(ml_server.url)["models"]) == 2
    undeploy(index)
    assert state_of(ml_server.url) == before


def test_one_that_wakes_up_after_another_took_over_stops_and_leaves_everything_to_it(
    ml_server: Server, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_SILENCE", 5.0)
    with deployer(index, tmp_path / "asleep") as asleep:
        wait_until_making(ml_server.url)
        asleep.send_signal(signal.SIGSTOP)
        assert deploy(index).outcome.cosine > 0.9999
        after = state_of(ml_server.url)
        asleep.send_signal(signal.SIGCONT)
        _, err = asleep.communicate(timeout=60)
    assert asleep.returncode == 4
    assert "another one took over" in err
    assert state_of(ml_server.url) == after
