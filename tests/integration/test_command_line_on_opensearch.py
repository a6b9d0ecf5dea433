"""The command line does on a server what it does on a folder, and finds the same."""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Home
from node.server import Server

from hybrid_search.cli import cli
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.errors import UsageError
from hybrid_search.settings.server import ServerOptions

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def index(home: Home, opensearch_server: Server) -> Iterator[str]:
    location = f"{opensearch_server.location}/command-line"
    OpenSearchEngine.drop(location)
    loaded = home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", location)
    assert loaded.code == 0, loaded.err
    yield location
    OpenSearchEngine.drop(location)


def test_a_query_needs_no_model_path_and_finds_what_the_folder_finds(home: Home, index: str) -> None:
    answers = [
        home.run("query", "knead the dough", "--from", place, "--filter", "year < 2010", "--format", "json")
        for place in (home.index, index)
    ]
    assert [answer.code for answer in answers] == [0, 0], answers[1].err
    ours, theirs = (answer.json for answer in answers)
    assert [hit["id"] for hit in theirs["hits"]] == [hit["id"] for hit in ours["hits"]]
    for hit, counterpart in zip(theirs["hits"], ours["hits"], strict=True):
        assert hit["score"] == pytest.approx(counterpart["score"], abs=1e-4)
        assert hit["legs"].keys() == counterpart["legs"].keys()


def test_loading_again_changes_nothing(home: Home, index: str) -> None:
    again = home.run("load", "jsonl", "--path", home.data, "--to", index, "--format", "json")
    assert again.code == 0, again.err
    assert (again.json["added"], again.json["unchanged"], again.json["documents"]) == (0, 150, 150)


def test_evaluation_gives_the_same_figures(home: Home, index: str) -> None:
    results = [
        home.run("evaluate", "jsonl", "--path", home.data, "--from", place, "--no-speed", "--format", "json")
        for place in (home.index, index)
    ]
    assert [result.code for result in results] == [0, 0], results[1].err
    ours, theirs = (figures(result.json) for result in results)
    assert theirs == pytest.approx(ours, abs=0.01)


def test_wins_and_losses_against_bm25_are_those_of_the_folder(
    home: Home, opensearch_server: Server, tmp_path: Path
) -> None:
    # Towers this small lose to BM25 on their own validation; given most of the weight they win and lose.
    places = (str(tmp_path / "leaning"), f"{opensearch_server.location}/leaning")
    OpenSearchEngine.drop(places[1])
    try:
        for place in places:
            loaded = home.run(
                "load", "jsonl", "--path", home.data, "--model", home.model, "--to", place, "--bm25-weight", 0.01
            )
            assert loaded.code == 0, loaded.err
        ours, theirs = (
            home.run("evaluate", "jsonl", "--path", home.data, "--from", place, "--no-speed", "--format", "json").json
            for place in places
        )
    finally:
        OpenSearchEngine.drop(places[1])
    ours, theirs = ours["against_bm25"], theirs["against_bm25"]
    assert ours["losses"] > 0
    assert ours["wins"] + ours["ties"] + ours["losses"] == 54
    assert len(ours["examples"]["losses"]) == min(3, ours["losses"])
    assert [theirs[name] for name in ("measure", "wins", "ties", "losses")] == [
        ours[name] for name in ("measure", "wins", "ties", "losses")
    ]
    for side in ("wins", "losses"):
        assert [e["query_id"] for e in theirs["examples"][side]] == [e["query_id"] for e in ours["examples"][side]]
        assert [e["answer"] for e in theirs["examples"][side]] == [e["answer"] for e in ours["examples"][side]]


def figures(report: dict) -> dict[str, float]:
    found: dict[str, float] = {}

    def walk(part: object, path: str) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                walk(value, f"{path}.{key}")
        elif isinstance(part, float) and "nDCG" in path:
            found[path] = part

    walk(report, "")
    assert found
    return found


def test_mining_finds_the_same_negatives(home: Home, index: str) -> None:
    for name, place in (("folder", home.index), ("server", index)):
        mined = home.run("mine", "jsonl", "--path", home.data, "--from", place, "--out", home.path / f"{name}.jsonl")
        assert mined.code == 0, mined.err
    ours, theirs = (negatives(home.path / f"{name}.jsonl") for name in ("folder", "server"))
    assert ours
    assert theirs == ours


def negatives(file: Path) -> dict[str, list[str]]:
    rows = map(json.loads, file.read_text().splitlines()[1:])
    return {row["query_id"]: [negative["id"] for negative in row["negatives"]] for row in rows}


def test_info_describes_the_index_and_verifies_its_towers(home: Home, index: str) -> None:
    told = home.run("info", index, "--format", "json")
    assert told.code == 0, told.err
    assert (told.json["engine"], told.json["documents"], told.json["vectors"]) == ("opensearch", 150, 150)
    verified = home.run("info", index, "--verify", "--format", "json")
    assert (verified.code, verified.json["verified"]) == (0, "its towers are as they were stored")


def test_an_index_that_is_not_there_is_named(home: Home, index: str) -> None:
    missing = home.run("query", "x", "--from", index.replace("command-line", "no-such-index"))
    assert missing.code == 4
    assert "no such index [no-such-index]" in missing.err


def test_two_engines_are_evaluated_side_by_side(home: Home, index: str) -> None:
    both = ("evaluate", "jsonl", "--path", home.data, "--from", home.index, "--against", index)
    found = home.run(*both, "--format", "json")
    assert found.code == 0, found.err
    assert found.json["systems"].keys() == {"bm25", "knn", "hybrid"}
    for system, difference in found.json["systems"].items():
        one, other = difference["means"]["nDCG@10"]
        assert difference["queries"] == 54
        assert other == pytest.approx(one, abs=0.01), system
        # 25 texts of 5 phrases each: scores so close that the engines' rounding decides some orders.
        assert difference["overlap_at_10"] >= 0.97, system
        for query in difference["differing"]:
            assert query["change"] == pytest.approx(query["other"] - query["value"])


def test_a_shown_request_is_one_line_for_a_shell_and_json_for_dev_tools(home: Home, index: str) -> None:
    question = ("query", "the bees' queen and the hive's day 49", "--from", index, "-k", "7", "--offset", "2")
    shown = home.run(*question, "--show-request")
    assert shown.code == 0, shown.err
    curl, _, console = shown.out.partition("\n\n")
    words = shlex.split(curl)
    assert words[:4] == ["curl", "-s", "-H", "Content-Type: application/json"]
    url, body = words[4], words[words.index("-d") + 1]
    first, _, pretty = console.partition("\n")
    assert first == "POST /command-line/_search"
    assert url.endswith("/command-line/_search")
    assert json.loads(pretty) == json.loads(body)
    assert "bees queen hive day 49" in body
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        hits = json.load(answer)["hits"]["hits"]
    expected = home.run(*question, "--format", "json").json["hits"]
    assert [(hit["_id"], hit["_source"]["text"]) for hit in hits] == [(hit["id"], hit["text"]) for hit in expected]


def test_a_server_is_told_how_to_keep_an_index_and_its_pipeline(home: Home, opensearch_server: Server) -> None:
    location = f"{opensearch_server.location}/command-line-layout"
    if OpenSearchEngine.exists(location):
        OpenSearchEngine.drop(location)
    load = ("load", "jsonl", "--path", home.data, "--to", location, "--lexical-only")
    made = home.run(*load, "--shards", "2", "--replicas", "0", "--pipeline", "command-line-layout")
    assert made.code == 0, made.err
    with OpenSearchEngine.open(location) as engine:
        engine.check_options(ServerOptions(shards=2, replicas="0"))
    other = home.run(*load, "--shards", "3")
    assert (other.code, "the index has shards 2, asked for 3" in other.err) == (4, True)
    no_vectors = home.run(*load, "--recreate", "--hnsw-m", "24")
    assert (no_vectors.code, "m: the index holds no vectors" in no_vectors.err) == (2, True)
    OpenSearchEngine.drop(location)


def test_a_query_names_the_pipeline_that_is_missing(home: Home, index: str) -> None:
    missing = home.run("query", "bees", "--from", index, "--pipeline", "nobody-made-this")
    assert (missing.code, "no search pipeline 'nobody-made-this'" in missing.err) == (2, True)


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("load --path {data} jsonl --to {index}", "--faiss Flat", "faiss names the embedded engine's index"),
        ("load --path {data} jsonl --to {folder}", "--shards 2", "shards: for an index on a server"),
        ("query bees --from {folder}", "--pipeline x", "are for an index on a server"),
        ("query bees --from {folder}", "--show-request", "an index in a folder is not asked by requests"),
    ],
)
def test_options_of_the_other_engine_are_refused(home: Home, index: str, verb: str, options: str, message: str) -> None:
    told = f"{verb} {options}".format(data=home.data, index=index, folder=home.index)
    done = CliRunner().invoke(cli, told.split())
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
