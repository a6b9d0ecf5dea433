"""What Dashboards is given, against a real node: the log and the figures are written, and every panel has an answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Home
from node.server import Server
from pack_check import check_pack, vega_sources
from stand_in_dashboards import stand_in_dashboards

import hybrid_search
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.side_index import COMPANIONS, CompanionIndex, companion_index
from hybrid_search.location import Address
from hybrid_search.settings.server import SearchOptions

pytestmark = pytest.mark.opensearch

NAME = "dashboards"
VEGA = ROOT / ".cache" / "panels" / "node_modules"


@pytest.fixture(scope="module")
def index(home: Home, opensearch_server: Server) -> Iterator[str]:
    """An index with everything that panels show: queries, evaluations and a sample of the documents."""
    location = f"{opensearch_server.location}/{NAME}"
    drop_all(opensearch_server, location)
    run, loading = home.run, ("--path", home.data, "--model", home.model, "--to", location)
    made = [
        run("load", "jsonl", *loading),
        run("query", "-", "--from", location, "--log-queries", "-k", "3", stdin="knead the dough\nqueen bee\nzzz\n"),
        run("query", "tides", "--from", location, "--log-queries", "--filter", "year > 3000"),
        run("query", "secret tides", "--from", location, "--log-queries", "--hash-queries"),
        run("evaluate", "jsonl", "--path", home.data, "--from", location, "--store", "--systems", "bm25,knn,hybrid"),
        run("dashboards", "measure", "--from", location, "--sample", "100"),
    ]
    assert [one.code for one in made] == [0] * len(made), "\n".join(one.err for one in made)
    yield location
    drop_all(opensearch_server, location)


def drop_all(server: Server, location: str) -> None:
    OpenSearchEngine.drop(location)
    for kind in COMPANIONS:
        ask(server, "DELETE", f"/{companion_index(NAME, kind)}", may_fail=True)


def ask(server: Server, method: str, path: str, body: Any = None, *, may_fail: bool = False) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if may_fail:
            return json.load(error)
        raise AssertionError(f"{path}: {error.read().decode()}") from error


def entries(server: Server, kind: str, query: Any = None) -> list[dict[str, Any]]:
    ask(server, "POST", f"/{NAME}-{kind}/_refresh")
    body = {"size": 1_000, "sort": ["time"], "query": query or {"match_all": {}}}
    return [hit["_source"] for hit in ask(server, "POST", f"/{NAME}-{kind}/_search", body)["hits"]["hits"]]


def test_each_query_is_logged_with_its_times_and_what_each_leg_found(index: str, opensearch_server: Server) -> None:
    logged = entries(opensearch_server, "queries", {"term": {"text": "knead the dough"}})
    assert len(logged) == 1
    entry = logged[0]
    assert (entry["index"], entry["mode"], entry["k"], entry["hits"]) == (NAME, "hybrid", 3, 3)
    assert 0 <= entry["took_ms"] <= entry["client_ms"]
    with hybrid_search.open(index) as retriever:
        wanted = {
            mode: retriever.rankings(["knead the dough"], 10, mode=mode)[0].ids for mode in ("bm25", "knn", "hybrid")
        }
    assert {mode: tuple(entry[f"top_{mode}"]) for mode in wanted} == wanted
    assert entry["overlap_bm25_knn"] == len(set(wanted["bm25"]) & set(wanted["knn"]))
    assert entry["overlap_bm25_hybrid"] == len(set(wanted["bm25"]) & set(wanted["hybrid"]))


def test_queries_without_results_and_those_of_unknown_words_can_be_told(index: str, opensearch_server: Server) -> None:
    nothing = entries(opensearch_server, "queries", {"term": {"zero_results": True}})
    assert [entry["text"] for entry in nothing] == ["zzz", "tides"]
    assert [entry["filtered"] for entry in nothing] == [False, True]


def test_a_hashed_query_leaves_no_word_of_it(index: str, opensearch_server: Server) -> None:
    [hashed] = entries(opensearch_server, "queries", {"exists": {"field": "text_hash"}})
    assert not {"text", "top_bm25", "top_knn", "top_hybrid"} & hashed.keys()
    assert "secret" not in json.dumps(hashed)
    assert "overlap_bm25_knn" in hashed


def test_a_backend_logs_through_the_library_and_through_an_alias(index: str, opensearch_server: Server) -> None:
    alias = "dashboards-alias"
    ask(opensearch_server, "POST", "/_aliases", {"actions": [{"add": {"index": NAME, "alias": alias}}]})
    location = f"{opensearch_server.location}/{alias}"
    try:
        with hybrid_search.open(location, search=SearchOptions(log_queries="text")) as retriever:
            retriever.search_many(["honey", "swarm in May"], mode="bm25")
        ask(opensearch_server, "POST", f"/{alias}-queries/_refresh")
        found = ask(opensearch_server, "GET", f"/{alias}-queries/_search")["hits"]["hits"]
    finally:
        ask(opensearch_server, "DELETE", f"/{alias}-queries", may_fail=True)
        ask(opensearch_server, "DELETE", f"/{NAME}/_alias/{alias}")
    assert sorted(hit["_source"]["text"] for hit in found) == ["honey", "swarm in May"]
    assert {(hit["_source"]["index"], hit["_source"]["batch"]) for hit in found} == {(NAME, 2)}


def test_awaited_searches_are_logged_with_their_own_times(index: str, opensearch_server: Server) -> None:
    async def ask_both() -> None:
        opened = hybrid_search.open(index, search=SearchOptions(log_queries="text"))
        async with hybrid_search.AsyncRetriever(opened) as retriever:
            await asyncio.gather(retriever.search("awaited one", 2), retriever.search("awaited two", 3))

    asyncio.run(ask_both())
    logged = entries(opensearch_server, "queries", {"prefix": {"text": "awaited"}})
    assert sorted((entry["text"], entry["hits"]) for entry in logged) == [("awaited one", 2), ("awaited two", 3)]
    assert all(0 <= entry["took_ms"] <= entry["client_ms"] for entry in logged)


def test_a_log_that_can_t_be_written_is_said_once_and_queries_go_on(
    home: Home, index: str, opensearch_server: Server
) -> None:
    block = f"/{NAME}-queries/_settings"
    ask(opensearch_server, "PUT", block, {"index.blocks.write": True})
    try:
        answered = home.run(
            "query", "-", "--from", index, "--log-queries", "--format", "jsonl", stdin="bread\nbees\n" * 5
        )
    finally:
        ask(opensearch_server, "PUT", block, {"index.blocks.write": None})
    assert answered.code == 0, answered.err
    assert len(answered.out.splitlines()) == 10
    assert answered.err.count(f"{NAME}-queries is not written, searching goes on without it") == 1


def test_a_log_is_for_a_server(home: Home) -> None:
    refused = home.run("query", "bread", "--from", home.index, "--log-queries")
    assert refused.code == 2
    assert "a query log" in refused.err
    assert home.run("query", "bread", "--from", home.index, "--hash-queries").code == 2


def test_an_evaluation_is_kept_for_each_system(index: str, opensearch_server: Server) -> None:
    kept = entries(opensearch_server, "evaluations")
    assert sorted(entry["system"] for entry in kept) == ["bm25", "hybrid", "knn"]
    assert {(entry["dataset"], entry["split"], entry["documents"]) for entry in kept} == {("jsonl", "test", 150)}
    assert all(0 <= entry["ndcg_at_10"] <= 1 and entry["p50_ms"] > 0 for entry in kept)


def test_a_sample_is_measured_and_measured_again_in_its_place(
    home: Home, index: str, opensearch_server: Server
) -> None:
    again = home.run("dashboards", "measure", "--from", index, "--sample", "10000", "--format", "json")
    assert again.code == 0, again.err
    assert (again.json["documents"], again.json["sampled"]) == (150, 150)
    kept = entries(opensearch_server, "statistics", {"term": {"kind": "document"}})
    assert len({entry["document"] for entry in kept}) == len(kept) == 150
    assert all(entry["norm"] == pytest.approx(1.0, abs=1e-5) for entry in kept)
    assert again.json["tokens"] == pytest.approx(sum(entry["tokens"] for entry in kept) / 150, abs=1e-3)


@pytest.fixture(scope="module")
def pack(home: Home, index: str) -> Path:
    file = home.path / "pack.ndjson"
    exported = home.run("dashboards", "export", "--from", index, "-o", file, "--format", "json")
    assert exported.code == 0, exported.err
    assert exported.json["visualization"] == 15
    return file


def test_the_pack_is_imported_whole_and_replaced_the_next_time(
    home: Home, index: str, pack: Path, opensearch_server: Server
) -> None:
    with stand_in_dashboards() as dashboards:
        arguments = ("dashboards", "import", "--from", index, "--dashboards-url", dashboards.url, "--format", "json")
        first, second = home.run(*arguments), home.run(*arguments)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (first.json["replaced"], second.json["replaced"]) == (0, first.json["taken"])
    assert all(ask(opensearch_server, "GET", f"/{NAME}-{kind}") for kind in COMPANIONS)
    assert list(dashboards.kept.values()) == [json.loads(line) for line in pack.read_text().splitlines()]


def test_every_search_of_every_panel_has_an_answer(pack: Path, opensearch_server: Server) -> None:
    for one in check_pack(pack.read_bytes()):
        for url in vega_sources(one["attributes"]):
            body = dict(url["body"])
            if "%timefield%" in url:
                body["query"] = {"range": {url["%timefield%"]: {"gte": "now-30d", "lte": "now"}}}
            answer = ask(opensearch_server, "POST", f"/{url['index']}/_search", body)
            found = [*answer["hits"]["hits"], *buckets(answer.get("aggregations", {}))]
            assert found, f"{one['id']} shows nothing"


def buckets(part: Any) -> list[Any]:
    if not isinstance(part, dict):
        return []
    return [*part["buckets"]] if "buckets" in part else [one for child in part.values() for one in buckets(child)]


def test_every_saved_search_and_every_aggregation_has_an_answer(pack: Path, opensearch_server: Server) -> None:
    objects = check_pack(pack.read_bytes())
    titles = {one["id"]: one["attributes"]["title"] for one in objects if one["type"] == "index-pattern"}
    found: dict[str, int] = {}
    for one in objects:
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", {})
        if "indexRefName" not in source:
            continue
        [title] = [titles[reference["id"]] for reference in one["references"]]
        text = source["query"]["query"]
        body: dict[str, Any] = {"query": {"query_string": {"query": text}} if text else {"match_all": {}}}
        if one["type"] == "search":
            body["sort"] = [{field: order} for field, order in one["attributes"]["sort"]]
        else:
            body["aggs"] = aggregations(one["attributes"]["visState"]["aggs"])
        found[one["id"].removeprefix("hybrid-search-dashboards-")] = ask(
            opensearch_server, "POST", f"/{title}/_search", body
        )["hits"]["total"]["value"]
    assert found["zero-results"] == 2
    assert found["all-queries"] >= 5
    assert found["count"] == found["texts"] == 150
    assert found.keys() == {
        "count",
        "texts",
        "most-asked",
        "all-queries",
        "zero-results",
        "bm25-nothing",
        "low-overlap",
    }


def aggregations(state: list[dict[str, Any]]) -> dict[str, Any]:
    """Make of a visualisation's aggregations what Dashboards asks: metrics inside of buckets; count is there anyway."""
    made: dict[str, Any] = {
        one["id"]: {one["type"]: {"field": one["params"]["field"]}}
        for one in state
        if one["schema"] == "metric" and one["type"] != "count"
    }
    for one in state:
        if one["schema"] == "bucket":
            terms = {"field": one["params"]["field"], "size": one["params"]["size"], "order": {"_count": "desc"}}
            made = {one["id"]: {one["type"]: terms, "aggs": made}}
    return made


def vega_or_skip() -> Path:
    if shutil.which("node") is None:
        pytest.skip("no node on this machine, so Vega can't draw the panels; they were only asked for their data")
    if not (VEGA / "vega").is_dir():
        pytest.skip("Vega is not installed, so no panel is drawn: make panels")
    return VEGA


def draw(pack: Path, server: Server, folder: Path, *options: str) -> dict[str, Any]:
    check_pack(pack.read_bytes())
    environment = {**os.environ, "NODE_PATH": str(vega_or_skip())}
    command = ["node", ROOT / "docs" / "panels" / "draw.mjs", pack, server.url, folder, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {one["id"].removeprefix(f"hybrid-search-{NAME}-"): one for one in map(json.loads, done.stdout.splitlines())}


def test_panels_without_data_say_so(home: Home, index: str, opensearch_server: Server, tmp_path: Path) -> None:
    alias = f"{NAME}-unused"
    location = f"{opensearch_server.location}/{alias}"
    ask(opensearch_server, "POST", "/_aliases", {"actions": [{"add": {"index": NAME, "alias": alias}}]})
    try:
        for kind in COMPANIONS:
            with closing(CompanionIndex(Address.parse(location), kind)) as companion:
                companion.ensure()
        made = home.run("dashboards", "export", "--from", location, "-o", tmp_path / "empty.ndjson")
        assert made.code == 0, made.err
        draw(tmp_path / "empty.ndjson", opensearch_server, tmp_path)
        for part in (
            "outcomes", "latency", "overlap", "agreement", "evaluations", "differences", "lengths", "norms",
        ):  # fmt: skip
            drawn = (tmp_path / f"{part}.svg").read_text()
            assert "Nothing here yet: hybrid-search " in drawn, part
            assert "translate(35,Infinity)" not in drawn, part
    finally:
        for kind in COMPANIONS:
            ask(opensearch_server, "DELETE", f"/{companion_index(alias, kind)}", may_fail=True)
        ask(opensearch_server, "POST", "/_aliases", {"actions": [{"remove": {"index": NAME, "alias": alias}}]})


def test_panels_whose_indexes_are_gone_say_what_brings_them_instead_of_failing(
    home: Home, index: str, opensearch_server: Server, tmp_path: Path
) -> None:
    alias = f"{NAME}-bare"
    location = f"{opensearch_server.location}/{alias}"
    ask(opensearch_server, "POST", "/_aliases", {"actions": [{"add": {"index": NAME, "alias": alias}}]})
    try:
        made = home.run("dashboards", "export", "--from", location, "-o", tmp_path / "bare.ndjson")
        assert made.code == 0, made.err
        draw(tmp_path / "bare.ndjson", opensearch_server, tmp_path)  # fails if a panel does
        for part in ("outcomes", "latency", "overlap", "agreement", "evaluations", "lengths"):
            assert "Nothing here yet: hybrid-search " in (tmp_path / f"{part}.svg").read_text(), part
    finally:
        ask(opensearch_server, "POST", "/_aliases", {"actions": [{"remove": {"index": NAME, "alias": alias}}]})


def test_titles_are_light_in_the_dark_theme(pack: Path, opensearch_server: Server, tmp_path: Path) -> None:
    draw(pack, opensearch_server, tmp_path, "only=rankings", "dark=1", "typed=DOUGH")
    drawn = (tmp_path / "rankings.svg").read_text()
    texts = re.findall(r'<text[^>]* fill="(#\w+)">([^<]+)<', drawn)
    assert {"BM25", "hybrid", "k-NN"} <= {text for fill, text in texts if fill == "#dfe5ef"}
    [headline] = [fill for fill, text in texts if text.startswith("“")]
    assert headline == "#dfe5ef"


def test_every_vega_panel_is_drawn_with_its_data(pack: Path, opensearch_server: Server, tmp_path: Path) -> None:
    drawn = draw(pack, opensearch_server, tmp_path, "typed=DOUGH")
    assert len(drawn) == 12
    assert {id: one["warnings"] for id, one in drawn.items()} == {id: [] for id in drawn}
    assert all(one["marks"] for one in drawn.values()), drawn
    assert "knead the dough" in (tmp_path / "rankings.svg").read_text()
    for part in ("agreement", "outcomes", "lengths", "norms", "vocabulary", "field-topic", "field-year"):
        labels = counts_on_the_axis((tmp_path / f"{part}.svg").read_text())
        assert len(labels) == len(set(labels)), f"{part}: {labels}"
        assert len(labels) > 1, part


def counts_on_the_axis(drawn: str) -> list[int]:
    """Return the numbers at the axis that counts queries or documents."""
    _, _, axis = drawn.partition(
        next(iter(re.findall(r"-axis titled '(?:queries|documents|documents of the sample)'", drawn)))
    )
    labels = axis.partition("role-axis-label")[2].partition("</g>")[0]
    return [int(text.replace(",", "")) for text in re.findall(r"<text[^>]*>([\d,]+)<", labels)]


def test_search_relevance_gets_the_judged_queries(home: Home, index: str) -> None:
    file = home.path / "set.http"
    made = home.run(
        "dashboards", "relevance", "jsonl", "--path", home.data, "--from", index, "-o", file, "--format", "json"
    )
    assert made.code == 0, made.err
    assert (made.json["queries"], made.json["configurations"]) == (54, 1)
    assert "BM25 only" in made.err
    assert "(hybrid-search deploy)" in made.err
    assert file.read_text().startswith("PUT /_plugins/_search_relevance/query_sets\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("export", "--from", "./index", "-o", "pack.ndjson"), 2, "Dashboards shows what is on a server"),
        (("export", "--from", "HERE", "-o", "pack.json"), 2, "ends in .ndjson; name it pack.ndjson"),
        (("export", "--from", "HERE-gone", "-o", "pack.ndjson"), 4, "no such index"),
        (("import", "--from", "HERE", "--dashboards-url", "localhost:5601"), 2, "such as http://localhost:5601"),
        (("import", "--from", "HERE", "--dashboards-url", "SERVER"), 9, "no OpenSearch Dashboards"),
        (("measure", "--from", "HERE", "--sample", "0"), 2, "sample is 0; it must be from 1 to 10000"),
    ],
)
def test_what_can_t_be_done_is_said(
    home: Home, index: str, opensearch_server: Server, arguments: tuple[str, ...], code: int, told: str
) -> None:
    given = [one.replace("HERE", index).replace("SERVER", opensearch_server.url) for one in arguments]
    refused = home.run("dashboards", *given)
    assert (refused.code, told in refused.err) == (code, True), refused.err
