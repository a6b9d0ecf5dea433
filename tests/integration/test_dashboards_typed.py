"""A query typed into a dashboard's query bar: encoded in the cluster, ranked as by us; on a node that runs towers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Home
from node.server import Server
from pack_check import check_pack, vega_sources
from stand_in_dashboards import stand_in_dashboards

import hybrid_search
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.side_index import COMPANIONS

pytestmark = pytest.mark.opensearch

NAME = "typed"
PANEL, BOARD = f"hybrid-search-{NAME}-typed", f"hybrid-search-{NAME}-try"
VEGA = ROOT / ".cache" / "panels" / "node_modules"


@pytest.fixture(scope="module")
def index(ml_server: Server, home: Home) -> Iterator[str]:
    location = f"{ml_server.location}/{NAME}"
    made = [
        home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", location),
        home.run("deploy", "--to", location, "--allow-settings", "--requests", home.path / "typed.http"),
        home.run("query", "knead the dough", "--from", location, "--log-queries"),
    ]
    assert [one.code for one in made] == [0] * len(made), "\n".join(one.err for one in made)
    yield location
    home.run("undeploy", location)
    OpenSearchEngine.drop(location)
    for kind in COMPANIONS:
        ask(ml_server, "DELETE", f"/{NAME}-{kind}?ignore_unavailable=true")


@pytest.fixture(scope="module")
def pack(index: str, home: Home) -> Path:
    """The pack, imported, so that the index is ready for it; and as a file."""
    file = home.path / "typed.ndjson"
    with stand_in_dashboards() as dashboards:
        imported = home.run(
            "dashboards", "import", "--from", index, "--dashboards-url", dashboards.url, "--format", "json"
        )
    exported = home.run("dashboards", "export", "--from", index, "-o", file)
    assert (imported.code, exported.code) == (0, 0), imported.err + exported.err
    assert "index.query.default_field" in imported.err
    assert imported.json["taken"] == len(file.read_text().splitlines())
    return file


def ask(server: Server, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def typed(part: Any, must: list[Any]) -> Any:
    """Put clauses where Dashboards does, and write numbers as a browser does."""
    if isinstance(part, list):
        clauses = {"%dashboard_context-must_clause%": must}
        spliced = [
            clauses.get(one, []) if str(one).startswith("%dashboard_context") else [typed(one, must)] for one in part
        ]
        return [one for some in spliced for one in some]
    if isinstance(part, dict):
        return {key: typed(value, must) for key, value in part.items()}
    return int(part) if isinstance(part, float) and part.is_integer() else part


def rankings(pack: Path, server: Server, must: list[Any]) -> dict[str, list[str]]:
    [panel] = [one for one in check_pack(pack.read_bytes()) if one["id"] == PANEL]
    found = {}
    for mode, url in zip(("bm25", "hybrid", "knn"), vega_sources(panel["attributes"]), strict=True):
        hits = ask(server, "POST", f"/{url['index']}/_search", typed(url["body"], must))["hits"]["hits"]
        found[mode] = [hit["_id"] for hit in hits if hit["_score"] > 0.0001]
    return found


@pytest.mark.parametrize("text", ["knead the dough", "honey of a queen", "tides day 7 zzz"])
@pytest.mark.parametrize("more", [[], [{"match_all": {}}]], ids=["alone", "beside an empty query"])
def test_a_typed_query_is_ranked_as_by_us(
    pack: Path, index: str, ml_server: Server, text: str, more: list[Any]
) -> None:
    clause = {"query_string": {"query": text, "analyze_wildcard": True}}
    found = rankings(pack, ml_server, [*more, clause])
    with hybrid_search.open(index) as retriever:
        for mode in ("bm25", "hybrid", "knn"):
            [ours] = retriever.rankings([text], 10, mode=mode)
            # A server does not order ties, so another document may be the last.
            assert len(found[mode]) == len(ours.ids), mode
            assert len(set(found[mode]) - set(ours.ids)) <= 1, mode


@pytest.mark.parametrize("must", [[], [{"match_all": {}}]], ids=["another language", "nothing typed"])
def test_what_was_not_encoded_finds_nothing(pack: Path, ml_server: Server, must: list[Any]) -> None:
    assert rankings(pack, ml_server, must) == {"bm25": [], "hybrid": [], "knn": []}


def test_the_panel_has_a_dashboard_of_its_own(pack: Path) -> None:
    boards = {one["id"]: one for one in check_pack(pack.read_bytes()) if one["type"] == "dashboard"}
    assert [each["id"] for each in boards[BOARD]["references"]] == [PANEL]
    assert len(boards) == 2


def test_the_panel_is_drawn(pack: Path, ml_server: Server, tmp_path: Path) -> None:
    if shutil.which("node") is None or not (VEGA / "vega").is_dir():
        pytest.skip("no node, or Vega is not installed (make panels), so the panel is not drawn")
    command = [
        "node",
        ROOT / "docs" / "panels" / "draw.mjs",
        pack,
        ml_server.url,
        tmp_path,
        "only=typed",
        "bar=honey queen",
    ]
    environment = {**os.environ, "NODE_PATH": str(VEGA)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [drawn] = map(json.loads, done.stdout.splitlines())
    assert drawn["warnings"] == []
    assert "Your query, answered now" in (tmp_path / "typed.svg").read_text()


def test_search_relevance_gets_all_three_rankings(home: Home, index: str) -> None:
    file = home.path / "typed-set.http"
    made = home.run(
        "dashboards", "relevance", "jsonl", "--path", home.data, "--from", index, "-o", file, "--format", "json"
    )
    assert made.json["configurations"] == 3, made.err
    assert file.read_text().count(f'"searchPipeline":"hybrid-search-{NAME}"') == 2
