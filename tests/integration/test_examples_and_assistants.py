"""The examples run as they are, and an assistant starts the server as it would."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import Client as DjangoClient
from mcp import StdioServerParameters
from mcp.client import Client
from services import NOTES, write_index
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("examples") / "index", NOTES)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_that_answers_questions_quotes_what_it_found(index: Path) -> None:
    command = [sys.executable, "examples/rag.py", str(index), "how often is the signing key rotated"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[:2] == ["Rotate the signing key every ninety days. [1]", "[1] keys"]


def test_a_fastapi_application_has_the_service_below_a_path(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX", str(index))
    with TestClient(example("with_fastapi").app) as client:
        assert client.get("/greeting").json() == {"greeting": "hello"}
        found = client.post("/search-service/search", json={"query": "signing key", "k": 1}).json()
        assert [hit["id"] for hit in found["hits"]] == ["keys"]
        assert client.get("/search-service/documents/nosuch").json()["type"] == "urn:hybrid-search:Unknown"


def test_a_django_project_searches_and_adds(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX", str(shutil.copytree(index, tmp_path / "index")))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    project = importlib.import_module("with_django")  # its settings name the module's urls
    client = DjangoClient(SERVER_NAME="localhost")
    try:
        found = client.get("/search", {"q": "signing key", "k": 1}).json()["hits"]
        assert [hit["id"] for hit in found] == ["keys"]
        assert client.get("/search", {"q": "x", "k": "z"}).json() == {"error": "k must be a whole number"}
        refused = client.get("/search", {"q": "x", "filter": "year >"})
        assert (refused.status_code, "expected a value" in refused.json()["error"]) == (400, True)
        note = {"id": "tea", "text": "Tea is drunk at four."}
        assert client.post("/notes", note, content_type="application/json").json() == {"added": 1}
        assert client.post("/notes", [], content_type="application/json").status_code == 400
        assert client.get("/search", {"q": "tea at four", "k": 1}).json()["hits"][0]["id"] == "tea"
        assert client.get("/notes").status_code == 405
    finally:
        project.retriever().close()


def test_an_assistant_starts_the_server_and_searches(index: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "hybrid_search", "mcp", str(index)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )

    async def asked() -> Any:
        async with Client(server) as client:
            return await client.call_tool("search", {"query": "signing key", "k": 1})

    assert asyncio.run(asked()).structured_content["result"][0]["id"] == "keys"
