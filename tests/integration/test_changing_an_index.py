"""`delete`, `load --sync`, `refit` and `tune`, as a user runs them, on a folder and on a server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from conftest import Home
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.indexes import indexes_on, roll_back
from hybrid_search.loaders.intake import Intake
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.sync import load_in_sync
from hybrid_search.location import Address
from hybrid_search.types import Document


@pytest.fixture(params=["folder", pytest.param("server", marks=pytest.mark.opensearch)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an index can be made."""
    if request.param == "folder":
        yield str(tmp_path / "index")
        return
    server: Server = request.getfixturevalue("opensearch_server")
    location = f"{server.location}/changing"
    OpenSearchEngine.drop(location)
    yield location
    OpenSearchEngine.drop(location)


def loaded(home: Home, place: str, *options: object) -> str:
    done = home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", place, *options)
    assert done.code == 0, done.err
    return place


def found(home: Home, place: str, query: str) -> set[str]:
    answer = home.run("query", query, "--from", place, "-k", 200, "--format", "json").json
    return {hit["id"] for hit in answer["hits"]}


def test_documents_are_deleted_by_id_and_from_stdin(home: Home, place: str) -> None:
    loaded(home, place)
    done = home.run("delete", place, "bees-00", "bees-01", "nobody", "--format", "json")
    assert done.code == 0, done.err
    assert done.json == {"location": place, "deleted": 2, "not_there": ["nobody"], "documents": 148}
    done = home.run("delete", place, "-", stdin="bees-02\n\nbees-00\nbees-03\n")
    assert done.code == 0, done.err
    assert "Not there: bees-00" in done.err
    gone = {"bees-00", "bees-01", "bees-02", "bees-03"}
    left = found(home, place, "honey in the comb, bees")
    assert "bees-04" in left
    assert not gone & left


def test_an_id_that_can_be_none_deletes_nothing(home: Home, place: str) -> None:
    loaded(home, place)
    refused = home.run("delete", place, "bees-00", "x" * 600)
    assert (refused.code, "no document can have" in refused.err) == (2, True)
    assert home.run("info", place, "--format", "json").json["documents"] == 150
    missing = home.run("delete", f"{place}-elsewhere", "bees-00")
    assert missing.code == 4
    assert "elsewhere" in missing.err


def test_a_synchronised_load_removes_what_left_the_data_set(home: Home, place: str, tmp_path: Path) -> None:
    loaded(home, place)
    data = tmp_path / "data"
    shutil.copytree(home.data, data)
    lines = (home.data / "documents.jsonl").read_text().splitlines(keepends=True)
    new = json.dumps({"id": "new", "text": "About moths, a new note: they fly at night."}) + "\n"

    def sync(*options: object):
        return home.run("load", "jsonl", "--path", data, "--to", place, "--sync", "--format", "json", *options)

    (data / "documents.jsonl").write_text("".join([*lines[15:], new]))
    done = sync()
    assert done.code == 0, done.err
    assert (done.json["added"], done.json["unchanged"], done.json["removed"]) == (1, 135, 15)
    assert done.json["documents"] == 136
    assert "Removed 15 documents" in done.err

    (data / "documents.jsonl").write_text("".join(lines[50:]))
    asked = sync()
    assert (asked.code, asked.json["removed"], asked.json["documents"]) == (2, 0, 136)
    assert "36 of 136 documents would be removed, more than a tenth; say --yes" in asked.err
    (data / "documents.jsonl").write_text("".join(lines[50:]) + '{"id": "tides-20", "text": "cut o')
    unread = sync("--yes", "--allow-rejected", 5, "--dead-letter", tmp_path / "dead.jsonl")
    assert (unread.code, unread.json["removed"]) == (3, 0)
    assert "nothing was removed: 1 of the data set's records could not be read" in unread.err
    assert str(tmp_path / "dead.jsonl") in unread.err
    (data / "documents.jsonl").write_text("".join(lines[50:]))
    assert (sync("--yes").json["removed"], sync().json["removed"]) == (36, 0)
    assert {id.partition("-")[0] for id in found(home, place, "the moon pulls the sea")} == {
        "bees", "clocks", "glaciers", "violins",
    }  # fmt: skip


def test_what_can_not_be_synchronised_is_refused_before_anything_is_loaded(home: Home, place: str) -> None:
    load = ("load", "jsonl", "--path", home.data, "--to", place, "--sync")
    assert "contradict one another" in home.run(*load, "--recreate").err
    assert "leave --sync out" in home.run(*load, "--alias", "some").err
    piped = home.run("load", "jsonl", "--path", "-", "--to", place, "--sync", stdin='{"id": "a", "text": "b"}\n')
    assert (piped.code, "may end early unnoticed" in piped.err) == (2, True)
    assert home.run("info", place).code == 4


def test_the_weights_of_the_fusion_are_fitted_again(home: Home, place: str, tmp_path: Path) -> None:
    pipeline = ("--pipeline", "changing", "--default-pipeline") if place.startswith("opensearch") else ()
    loaded(home, place, "--bm25-weight", 0.01, *pipeline)
    data = tmp_path / "data"
    shutil.copytree(home.data, data)
    (data / "qrels" / "test.tsv").rename(data / "qrels" / "dev.tsv")
    refit = ("refit", place, "jsonl", "--path", data)
    dry = home.run(*refit, "--dry-run", "--format", "json")
    assert dry.code == 0, dry.err
    assert dry.json["is_written"] is False
    assert home.run("info", place, "--format", "json").json["fusion"]["weights"] == [0.01, 0.99]

    done = home.run(*refit, "--format", "json")
    assert done.code == 0, done.err
    report = done.json
    assert {**report, "is_written": False} == dry.json
    assert (report["split"], report["queries"], report["weights_before"]) == ("dev", 54, [0.01, 0.99])
    # BM25 finds all, k-NN nearly: BM25 alone looks best, and it is no more than chance.
    assert (report["weights_chosen"], report["is_significant"], report["is_written"]) == ([1.0, 0.0], False, False)
    assert (report["weights_after"], report["chosen"] >= report["before"]) == ([0.01, 0.99], True)
    assert "The weights stay as they are: BM25 0.01, k-NN 0.99. What looked best on split dev" in done.err
    assert home.run("info", place, "--format", "json").json["fusion"]["weights"] == [0.01, 0.99]

    queries = [json.loads(line) for line in (data / "queries.jsonl").read_text().splitlines()]
    texts = "".join(f"{one['text']}\n" for one in queries)
    ranked = []
    for mode in ("bm25", "knn"):
        asked = home.run("query", "-", "--from", place, "--mode", mode, "-k", 10, "--format", "jsonl", stdin=texts)
        ranked.append([[hit["id"] for hit in json.loads(line)["hits"]] for line in asked.out.splitlines()])
    rows = [  # relevant is what BM25 finds and k-NN does not
        f"{one['id']}\t{next((id for id in bm25 if id not in knn), bm25[0])}\t1\n"
        for one, bm25, knn in zip(queries, *ranked, strict=True)
    ]
    (data / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    done = home.run(*refit, "--format", "json")
    report = done.json
    assert (report["weights_after"][0] > 0.01, report["is_significant"], report["is_written"]) == (True, True, True)
    assert "Written: BM25" in done.err
    assert home.run("info", place, "--format", "json").json["fusion"]["weights"] == report["weights_after"]
    assert "The weights stay as they are" in home.run(*refit).err

    tuned = home.run("tune", place, "jsonl", "--path", data, "--deploy", "--format", "json")
    assert tuned.code == 0, tuned.err
    found = tuned.json
    assert (found["split"], found["checked_on"], found["held_out"], found["settings"]) == (
        "dev", "", len(queries), 1_176,
    )  # fmt: skip
    assert found["before"]["weights"] == report["weights_after"]
    assert found["tuning"]["after"] >= found["tuning"]["before"]
    assert set(found["checked"]) == {"before", "bm25", "knn", "after"}
    held = home.run("info", place, "--format", "json").json
    assert (held["fusion"] == found["after"]) == (found["is_written"] or found["after"] == found["before"])
    if pipeline:  # what the server fuses by itself goes along, else this would be an error
        asked = home.run("query", "knead the dough", "--from", place, "--pipeline", "_default", "--format", "json")
        assert asked.code == 0, asked.err


@pytest.mark.opensearch
def test_an_alias_stands_for_its_live_index_in_all_three(home: Home, opensearch_server: Server, tmp_path: Path) -> None:
    alias = f"{opensearch_server.location}/changed"
    behind = ("--alias", "changed", "--to", opensearch_server.location)
    made = home.run("load", "jsonl", "--path", home.data, "--model", home.model, *behind)
    assert made.code == 0, made.err
    try:
        assert home.run("delete", alias, "bees-00", "--format", "json").json["deleted"] == 1
        shutil.copytree(home.data, tmp_path / "data")
        lines = (home.data / "documents.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "data" / "documents.jsonl").write_text("".join(lines[5:]))
        done = home.run("load", "jsonl", "--path", tmp_path / "data", "--to", alias, "--sync", "--format", "json")
        assert done.code == 0, done.err
        assert (done.json["added"], done.json["removed"], done.json["documents"]) == (1, 5, 145)
        fitted = home.run("refit", alias, "jsonl", "--path", home.data, "--split", "test", "--format", "json")
        assert fitted.code == 0, fitted.err
        described = home.run("info", alias, "--format", "json").json
        assert described["fusion"]["weights"] == fitted.json["weights_after"]
        (live,) = home.run("indexes", alias, "--format", "json").json
        assert (live["index"], live["live_as"], live["documents"]) == ("changed-000001", ["changed"], 145)
    finally:
        OpenSearchEngine.drop(f"{opensearch_server.location}/changed-000001")


@pytest.mark.opensearch
def test_an_alias_that_moves_during_the_load_keeps_the_documents_of_both_indexes(
    home: Home, opensearch_server: Server
) -> None:
    behind = ("--alias", "moving", "--to", opensearch_server.location)
    for _ in range(2):
        made = home.run("load", "jsonl", "--path", home.data, "--model", home.model, *behind)
        assert made.code == 0, made.err
    alias = f"{opensearch_server.location}/moving"

    def documents() -> Iterator[Document]:
        with closing(OpenSearchEngine.open(alias)) as engine:
            yield from islice(engine.documents(), 140)
        roll_back(Address.parse(alias))

    try:
        done = load_in_sync(Corpus("moving", documents), alias, reject=Intake(print), may_remove=lambda *_: True)
        assert (done.removed, done.load.unchanged) == (0, 140)
        assert "stands for another index now" in done.not_synced
        assert [one.documents for one in indexes_on(alias)] == [150, 150]
    finally:
        for number in (1, 2):
            OpenSearchEngine.drop(f"{alias}-{number:06}")


def test_a_refit_on_queries_that_the_towers_were_trained_on_is_warned_of(home: Home, tmp_path: Path) -> None:
    place = loaded(home, str(tmp_path / "index"))
    refused = home.run("refit", place, "jsonl", "--path", home.data)
    assert (refused.code, "name the split to fit on: there are train, test" in refused.err) == (2, True)
    done = home.run("refit", place, "jsonl", "--path", home.data, "--split", "train", "--dry-run")
    assert done.code == 0, done.err
    assert "The towers were trained on these queries" in done.err
