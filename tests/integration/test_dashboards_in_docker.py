"""The pack imported into the Dashboards of docker-compose.yml, and read back out of it; skipped without Docker."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT, Home

SERVER = "opensearch://localhost:9200"
DASHBOARDS = "http://localhost:5601"
NAME = "imported"


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        "docker",
        "compose",
        "-p",
        "hybrid-search-test",
        "-f",
        str(ROOT / "docker-compose.yml"),
        "--profile",
        "open",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="session")
def dashboards() -> Iterator[str]:
    if shutil.which("docker") is None:
        pytest.skip("no docker on this machine, so there is no Dashboards to import into")
    if subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("no Docker engine answers, so there is no Dashboards to import into")
    started = compose("up", "--wait", "--quiet-pull")
    try:
        assert started.returncode == 0, started.stderr
        yield DASHBOARDS
    finally:
        compose("down", "-v")


def export(kind: str, id: str) -> list[dict[str, Any]]:
    body = json.dumps({"objects": [{"type": kind, "id": id}], "includeReferencesDeep": True}).encode()
    headers = {"osd-xsrf": "true", "content-type": "application/json"}
    request = urllib.request.Request(f"{DASHBOARDS}/api/saved_objects/_export", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def test_the_pack_is_taken_whole_twice_and_comes_out_again(dashboards: str, home: Home) -> None:
    location = f"{SERVER}/{NAME}"
    loaded = home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", location)
    assert loaded.code == 0, loaded.err
    arguments = ("dashboards", "import", "--from", location, "--dashboards-url", dashboards, "--format", "json")
    first, second = home.run(*arguments), home.run(*arguments)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert second.json["taken"] == second.json["replaced"] == first.json["taken"]
    exported = export("dashboard", f"hybrid-search-{NAME}-dashboard")
    ids = {one["id"] for one in exported if "id" in one}
    assert {f"hybrid-search-{NAME}-latency", f"hybrid-search-{NAME}-rankings", f"hybrid-search-{NAME}-queries"} <= ids
    assert exported[-1].get("missingRefCount") == 0
