"""The command line does on a server what it does on a folder, and finds the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Home
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine

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
        home.run("evaluate", "jsonl", "--path", home.data, "--from", place, "--format", "json")
        for place in (home.index, index)
    ]
    assert [result.code for result in results] == [0, 0], results[1].err
    ours, theirs = (figures(result.json) for result in results)
    assert theirs == pytest.approx(ours, abs=0.01)


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


def test_info_describes_the_index_and_verify_is_for_folders(home: Home, index: str) -> None:
    told = home.run("info", index, "--format", "json")
    assert told.code == 0, told.err
    assert (told.json["engine"], told.json["documents"], told.json["vectors"]) == ("opensearch", 150, 150)
    refused = home.run("info", index, "--verify")
    assert refused.code == 9
    assert "folder only" in refused.err


def test_an_index_that_is_not_there_is_named(home: Home, index: str) -> None:
    missing = home.run("query", "x", "--from", index.replace("command-line", "no-such-index"))
    assert missing.code == 4
    assert "no such index [no-such-index]" in missing.err
