"""``create``, ``add``, ``get``, ``list``, ``count``, ``delete``, ``backup`` and ``restore``, as they are typed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import hybrid_search
from hybrid_search.cli import cli
from hybrid_search.errors import DataError, DatasetNotFound, IndexLocked, RecordsRejected, UsageError
from hybrid_search.service.routes.judgements import Judgements


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*words):
        done = CliRunner().invoke(cli, [*words, "--format", "json"], catch_exceptions=False)
        return json.loads(done.stdout) if done.stdout else None

    return command


def test_an_index_lives_without_a_data_set(run, tmp_path):
    assert run("create", "notes")["dimension"] == 0
    (tmp_path / "two.jsonl").write_text('{"id": "a", "text": "fleas", "year": 3}\n{"id": "b", "text": "cats"}\n')
    assert run("add", "notes", "two.jsonl") == {"added": 2, "rejected": 0, "documents": 2}
    assert run("get", "notes", "a") == [{"id": "a", "text": "fleas", "title": "", "metadata": {"year": 3}}]
    assert run("backup", "notes", "copy")["documents"] == 2
    assert run("delete", "notes", "a", "c") == {"location": "notes", "deleted": 1, "not_there": ["c"], "documents": 1}
    assert run("count", "notes") == {"documents": 1}
    assert run("restore", "copy", "notes", "--yes")["documents"] == 2
    assert [one["id"] for one in run("list", "notes", "--limit", "1", "--offset", "1")] == ["b"]


def test_of_documents_that_are_not_there_nothing_is_printed_but_the_error(run):
    run("create", "notes")
    done = CliRunner().invoke(cli, ["get", "notes", "a"])
    assert done.stdout == ""
    assert "notes: not there: a; `hybrid-search list` shows what is" in str(done.exception)


def test_a_query_counts_what_matches_and_leaves_out_poor_hits(run, tmp_path):
    run("create", "notes")
    (tmp_path / "three.jsonl").write_text(
        '{"id": "a", "text": "fleas", "year": 3}\n'
        '{"id": "b", "text": "a cat with fleas", "year": 4}\n'
        '{"id": "c", "text": "cats"}\n'
    )
    run("add", "notes", "three.jsonl")
    found = run("query", "flea", "--from", "notes", "--total", "--facet", "year")
    assert (found["total"], found["is_exact"]) == (2, True)
    assert found["facets"] == {"year": [{"value": 3, "count": 1}, {"value": 4, "count": 1}]}
    poor = found["hits"][1]["score"]
    assert [one["id"] for one in run("query", "flea", "--from", "notes", "--min-score", str(poor * 1.01))["hits"]] == [
        "a"
    ]
    with pytest.raises(UsageError, match="min_knn was given with mode 'bm25'"):
        run("query", "flea", "--from", "notes", "--min-knn", "0.9")


def test_files_are_added_as_passages_and_got_and_deleted_by_their_names(run, tmp_path):
    run("create", "docs")
    (tmp_path / "guide.md").write_text("# Guide\n\n" + "Fleas jump far. " * 60)
    added = run("add", "docs", "guide.md")
    assert (added["added"], run("count", "docs")) == (2, {"documents": 1, "passages": 2})
    assert [one["id"] for one in run("get", "docs", "guide.md")] == ["guide.md#p1", "guide.md#p2"]
    assert [one["id"] for one in run("list", "docs")] == ["guide.md#p1"]
    (tmp_path / "guide.md").write_text("# Guide\n\nFleas jump.")
    assert run("add", "docs", "guide.md")["documents"] == 1
    assert run("delete", "docs", "guide.md")["deleted"] == 1
    assert run("count", "docs")["documents"] == 0


def test_a_rejected_document_is_an_error_after_the_others_were_added(run, tmp_path):
    run("create", "notes")
    (tmp_path / "two.jsonl").write_text('{"id": "a", "text": ""}\n{"id": "b", "text": "cats"}\n')
    with pytest.raises(RecordsRejected, match="blank, and so is the title"):
        run("add", "notes", "two.jsonl")
    assert run("count", "notes") == {"documents": 1}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("m.jsonl", '{"id": "a", "text": "flea"}\n\n{"id": "b", "text": "cat", "metadata": {"year": "old"}}\n', 3),
        ("m.csv", "id,text,year\na,flea,\nb,cat,old\n", 3),
        ("folder/m.jsonl", '{"id": "a", "text": "flea"}\n{"id": "b", "text": "cat", "metadata": {"": "x"}}\n', 2),
        ("m.md", "---\nyear: old\n---\n\n# Cats\n\nA flea on a cat.\n", 1),
    ],
)
@pytest.mark.parametrize("verb", ["add", "load"])
def test_what_an_index_refuses_is_written_down_with_its_file_and_line(run, tmp_path, verb, name, text, line):
    run("create", "notes")
    (tmp_path / "one.jsonl").write_text('{"id": "one", "text": "cat", "year": 3}\n')
    run("add", "notes", "one.jsonl")
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    given = name.split("/")[0]
    files = "/" in name or name.endswith("md")
    how = ["add", "notes", given] if verb == "add" else ["load", "files" if files else "jsonl", "--path", given, "--to"]
    with pytest.raises(RecordsRejected):
        run(*how, *([] if verb == "add" else ["notes", "--allow-rejected", "0"]), "--dead-letter", "dead.jsonl")
    refused = [json.loads(one) for one in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert {(one["source"], one["line"]) for one in refused} == {(name, line)}


def test_a_file_that_is_not_read_is_named_and_is_an_error(run, tmp_path, capsys):
    run("create", "notes")
    (tmp_path / "bin.dat").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"bin.dat: there was no document in it, and nothing was added"):
        run("add", "notes", "bin.dat")
    done = CliRunner().invoke(cli, ["add", "notes", "bin.dat"])
    assert "Not read, as binary: bin.dat." in done.output
    assert isinstance(done.exception, DataError)


def test_no_verb_writes_into_the_folder_of_an_index(run, tmp_path):
    run("create", "notes")
    (tmp_path / "m.jsonl").write_text('{"id": "a", "text": "fleas"}\n')
    before = sorted(tmp_path.rglob("*"))
    source = ["jsonl", "--path", "m.jsonl"]
    for verb in (
        ["load", *source, "--lexical-only", "--to", "notes/index"],
        ["add", "notes", "m.jsonl", "--dead-letter", "notes/dead.jsonl"],
        ["train", *source, "--out", "notes/model"],
        ["mine", *source, "--from", "notes", "--out", "notes/negatives.jsonl"],
    ):
        with pytest.raises(UsageError, match=r"lies inside the index .*notes, which is kept by itself"):
            run(*verb)
    with pytest.raises(UsageError, match="lies inside the index"):
        CliRunner().invoke(cli, ["example", "notes/data"], catch_exceptions=False)
    with pytest.raises(UsageError, match="lies inside the index"):
        Judgements(tmp_path / "notes")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_beyond_the_last_hit_says_that_there_are_no_more(run, tmp_path):
    run("create", "notes")
    (tmp_path / "one.jsonl").write_text('{"id": "a", "text": "fleas"}\n')
    run("add", "notes", "one.jsonl")
    done = CliRunner().invoke(cli, ["query", "flea", "--from", "notes", "--offset", "7"])
    assert "Nothing was found: there are no more than 7 hits" in done.output


def test_a_query_that_finds_nothing_names_the_least_score_that_was_asked_for(run, tmp_path):
    run("create", "notes")
    (tmp_path / "one.jsonl").write_text('{"id": "a", "text": "fleas"}\n')
    run("add", "notes", "one.jsonl")
    done = CliRunner().invoke(cli, ["query", "flea", "--from", "notes", "--min-score", "5"])
    assert "Nothing was found: nothing scores as much as --min-score 5 asks, no word" in done.output


def test_what_is_not_there_is_said_and_nothing_is_replaced_unasked(run):
    run("create", "notes")
    run("create", "other")
    with pytest.raises(UsageError, match="not there: a; `hybrid-search list` shows what is"):
        run("get", "notes", "a")
    with pytest.raises(UsageError, match="other would be replaced by notes; say --yes"):
        run("restore", "notes", "other")


def test_a_field_declared_as_a_date_is_one_in_every_verb(run, tmp_path):
    (tmp_path / "notes.jsonl").write_text(
        '{"id": "a", "text": "fleas", "published": "2024-05-01"}\n'
        '{"id": "b", "text": "fleas", "published": 1714559400000}\n'
        '{"id": "c", "text": "fleas"}\n'
    )
    table = 'id,text,published\nd,fleas,1714559400001\ne,fleas,"1.5.2024"\n'
    (tmp_path / "table.csv").write_text(table)
    load = ("load", "jsonl", "--path", "notes.jsonl", "--to", "notes", "--lexical-only")
    assert run(*load, "--field", "published:date")["added"] == 3
    assert run(*load)["unchanged"] == 3  # though the index holds another text
    assert run("create", "more", "--field", "published:date")["dimension"] == 0
    with pytest.raises(DataError):
        run("add", "notes", "table.csv")
    assert "'1.5.2024' is no date" in (tmp_path / "rejected.jsonl").read_text()
    after = ("query", "flea", "--from", "notes", "--filter", "published > 2024-05-01T10:00Z", "--facet", "published")
    found = run(*after)
    assert {one["id"]: one["metadata"]["published"] for one in found["hits"]} == {
        "b": "2024-05-01T10:30:00.000Z",
        "d": "2024-05-01T10:30:00.001Z",
    }
    assert found["facets"]["published"][0] == {"value": "2024-05-01T10:30:00.000Z", "count": 1}
    with pytest.raises(UsageError, match="write NAME:TYPE with a type of keyword, long, double, boolean, date"):
        run("create", "others", "--field", "published:day")


def test_what_is_given_wrong_is_named_as_it_was_given(run, tmp_path):
    run("create", "notes")
    (tmp_path / "one.jsonl").write_text('{"id": "a", "text": "fleas"}\n')
    with pytest.raises(UsageError, match=r"one\.jsonl is a file; give a folder for the index"):
        run("load", "jsonl", "--path", "one.jsonl", "--to", "one.jsonl", "--lexical-only")
    with pytest.raises(DatasetNotFound, match=r"^nofile\.jsonl: there is no such file or folder, so nothing was added"):
        run("add", "notes", "nofile.jsonl")
    with pytest.raises(UsageError, match="--rerank-depth is 5, and nothing is ranked again; say --rerank MODEL too"):
        run("query", "fleas", "--from", "notes", "--rerank-depth", "5")


def test_passages_that_go_are_told_with_their_documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for name in "abc":
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\n" + "Fleas jump far. " * 60)
    load = ["load", "files", "--path", "docs", "--to", "index", "--lexical-only", "--sync", "--yes"]
    assert CliRunner().invoke(cli, load).exit_code == 0
    (tmp_path / "docs" / "b.md").unlink()
    (tmp_path / "docs" / "c.md").unlink()
    assert "Removed 4 passages of 2 documents not in the data set any more." in CliRunner().invoke(cli, load).output


def test_a_folder_of_empty_files_is_not_a_wrong_path(run, tmp_path):
    run("create", "notes")
    (tmp_path / "empty").mkdir()
    for name in ("a.txt", "b.md", ".hidden"):
        (tmp_path / "empty" / name).touch()
    done = CliRunner().invoke(cli, ["add", "notes", "empty"])
    assert "Not read, as empty: a.txt, b.md." in done.output
    assert str(done.exception) == "empty: there was no document in it, and nothing was added"
    with pytest.raises(DataError, match=r"no index was made; its files were not read \(empty: 2, hidden: 1\)$"):
        run("load", "files", "--path", "empty", "--to", "new", "--lexical-only")
    (tmp_path / "empty" / "a.txt").unlink()
    (tmp_path / "empty" / "b.md").unlink()
    with pytest.raises(DataError, match=r"there is no file to read; hidden: 1$"):
        run("load", "files", "--path", "empty", "--to", "new", "--lexical-only")


def test_what_sync_removes_is_counted_in_words(run, tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "docs" / name).write_text(f"Fleas of {name}.")
    load = ["load", "files", "--path", "docs", "--to", "index", "--lexical-only"]
    assert "Read 2 documents in 2 passages" in CliRunner().invoke(cli, load).output
    (tmp_path / "docs" / "b.txt").unlink()
    done = CliRunner().invoke(cli, [*load, "--sync", "--yes"])
    assert "Removed 1 passage of 1 document not in the data set any more." in done.output
    assert "Read 1 document in 1 passage" in done.output


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/venv/lib/hybrid_search/service/worker.py", "{}"], "hybrid-search serve"),
        (["/venv/bin/hybrid-search", "load", "jsonl"], "hybrid-search load"),
        (["/src/hybrid_search/__main__.py", "--debug"], "hybrid-search"),
        (["/app/index_notes.py", "secret"], "index_notes.py"),
    ],
)
def test_who_holds_an_index_is_told_by_the_command(run, tmp_path, monkeypatch, argv, told):
    run("create", "notes")
    monkeypatch.setattr("sys.argv", argv)
    with hybrid_search.open("notes", writable=True), pytest.raises(IndexLocked) as locked:
        hybrid_search.open("notes", writable=True)
    assert f"({told}) has been writing since" in str(locked.value)
