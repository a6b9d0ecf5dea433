"""load --alias, reindex, indexes, rollback and drop, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import Ran
from conftest import run, write_data
from made_models import make_model
from node.server import Server

from hybrid_search.cli import cli
from hybrid_search.engines.opensearch.index.aliases import delete_index, list_indexes
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import HybridSearchError
from hybrid_search.location import Address

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def models(home_data: Path) -> list[Path]:
    texts = [json.loads(line)["text"] for line in (home_data / "documents.jsonl").read_text().splitlines()]
    return [make_model(home_data.parent / f"model-{seed}", texts, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def home_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("behind-alias") / "data")


@pytest.fixture(scope="module")
def server(opensearch_server: Server) -> Iterator[str]:
    location = opensearch_server.location
    with closing(Client(Address.parse_server(location))) as client:
        clear(client)
        yield location
        clear(client)


def clear(client: Client) -> None:
    for one in list_indexes(client):
        if one.name.startswith("verbs-"):
            delete_index(client, one.name)


def does(*arguments: object, code: int = 0) -> Ran:
    """Run a command in this process, which is many times faster than in one of its own."""
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    error = result.exception
    if error is not None and not isinstance(error, HybridSearchError):
        raise error
    ran = Ran(error.exit_code if error else 0, result.stdout, f"{result.stderr}{error or ''}")
    assert ran.code == code, ran.err
    return ran


def test_from_the_first_load_to_the_last_drop(
    home_data: Path, models: list[Path], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home_data.parent)
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(home_data.parent / "cache"))
    alias, data = f"{server}/verbs", ("jsonl", "--path", home_data)
    first = does("load", *data, "--model", models[0], "--alias", "verbs", "--to", server, "--format", "json")
    assert (first.json["index"], first.json["replaced"], first.json["documents"]) == ("verbs-000001", "", 150)
    assert all(check["passed"] for check in first.json["checks"])
    assert "verbs now stands for verbs-000001" in first.err

    with (home_data / "documents.jsonl").open("a") as file:
        file.write('{"id": "bad"\n')
    second = does("load", *data, "--model", models[0], "--alias", "verbs", "--to", alias)
    assert "check: graph" in second.out
    assert f"verbs now stands for verbs-000002. Back to verbs-000001: hybrid-search rollback {alias}" in second.err
    assert "Warning: 1 of 151 records was rejected" in second.err

    third = does("reindex", "--model", models[1], "--alias", "verbs", "--to", server, "--format", "json")
    assert (third.json["index"], third.json["added"]) == ("verbs-000003", 150)
    hits = does("query", "knead the dough", "--from", alias, "--format", "json").json["hits"]
    assert hits

    listed = does("indexes", server, "--format", "jsonl").out.splitlines()
    rows = {row["index"]: row for row in map(json.loads, listed) if row["alias"] == "verbs"}
    assert [row["live_as"] for row in rows.values()] == [[], [], ["verbs"]]
    assert rows["verbs-000003"]["history"] == ["verbs-000002", "verbs-000001"]
    assert rows["verbs-000003"]["fingerprint"] != rows["verbs-000002"]["fingerprint"]
    table = does("indexes", alias).out
    assert [word in table for word in ("verbs-000001", "ready", "live", "150")] == [True] * 4

    back = does("rollback", alias, "--format", "json").json
    assert (back["index"], back["replaced"]) == ("verbs-000002", "verbs-000003")
    does("rollback", server, "--alias", "verbs", "--to", "verbs-000003")

    assert "say --yes" in does("drop", f"{server}/verbs-000001", code=2).err
    assert "150 documents" in does("drop", f"{server}/verbs-000001", "--yes").err
    assert "is live as verbs" in does("drop", f"{server}/verbs-000003", "--yes", code=4).err
    assert "is an alias of verbs-000003" in does("drop", alias, "--yes", code=2).err
    does("drop", f"{server}/verbs-000003", "--yes", "--live")
    assert "no such alias" in does("rollback", alias, code=4).err


def test_an_alias_is_for_servers_and_reindex_needs_something_to_read(home_data: Path, models: list[Path]) -> None:
    folder = does("load", "jsonl", "--path", home_data, "--alias", "a", "--to", "./index", code=2)
    assert "not a server's location" in folder.err
    nothing = does("reindex", "--model", models[0], "--to", "./index", code=2)
    assert "give --from LOCATION, or --alias" in nothing.err


def test_a_folder_is_reindexed_and_dropped_too(tmp_path: Path, models: list[Path]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    does("load", "jsonl", "--path", write_data(tmp_path / "data"), "--to", one, "--lexical-only")
    assert "150 documents would be deleted for good; say --yes" in does("drop", one, code=2).err
    told = does("reindex", "--model", models[0], "--from", one, "--to", two, "--format", "json")
    assert told.json["added"] == 150
    # In a process of its own once, as a user sees it.
    dropped = run("drop", "./two", "--yes", cwd=tmp_path)
    assert (dropped.code, dropped.err) == (0, "Deleted ./two with 150 documents.\n")
    again = run("drop", "./two", "--yes", cwd=tmp_path)
    assert (again.code, again.err) == (4, "Error: ./two: there is no index; check the path\n")
