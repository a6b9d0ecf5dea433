"""Readers that go away, and encodings that lack a character: a command ends as a shell expects, without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from conftest import ROOT, Home


def piped(home: Home, arguments: Sequence[object], *, lines: int, stdin: str = "") -> tuple[int, str]:
    """Run a command whose reader goes after some lines; return its exit code and what it said."""
    child = subprocess.Popen(
        [sys.executable, "-m", "hybrid_search", *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home.path, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with child, child.stderr:
        child.stdin.write(stdin)
        child.stdin.close()
        for _ in range(lines):
            child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
    return child.returncode, said


QUERIES = "honey in the comb\n" * 200


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_a_reader_that_goes_ends_the_command_as_sigpipe_does(home: Home, form: str) -> None:
    code, said = piped(home, ("query", "-", "--from", home.index, "--format", form), lines=1, stdin=QUERIES)
    assert (code, said) == (141, "")


@pytest.mark.parametrize("arguments", [("--help",), ("query", "--help"), ("info", "model")])
def test_so_does_one_that_reads_nothing_at_all(home: Home, arguments: tuple[str, ...]) -> None:
    code, said = piped(home, arguments, lines=0)
    assert code in (0, 141)  # 0 where it had written before the reader went
    assert said == ""


def encoded(home: Home, encoding: str, arguments: Sequence[object], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_search", *map(str, arguments)], input=stdin, capture_output=True, cwd=home.path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "koi8-r", "utf-8"])
@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_what_an_encoding_lacks_is_escaped_and_json_stays_json(home: Home, encoding: str, form: str) -> None:
    asked = "honey → 🎉 Ω"
    code, out, err = encoded(home, encoding, ("query", asked, "--from", home.index, "--format", form))
    assert (code, err) == (0, b"")
    if form == "table":
        assert (asked if encoding == "utf-8" else "\\u2192 \\ud83c\\udf89") in out.decode(encoding)
    else:
        assert json.loads(out.decode(encoding))["query"] == asked


def test_bytes_on_stdin_that_are_no_text_end_nothing(home: Home) -> None:
    stdin = b"honey \xff\xfe comb\nwind the spring\n"
    code, out, err = encoded(home, "utf-8", ("query", "-", "--from", home.index, "--format", "jsonl"), stdin)
    assert (code, err) == (0, b"")
    assert [json.loads(line)["query"] for line in out.splitlines()] == ["honey �� comb", "wind the spring"]


def test_evaluate_prints_its_figures_before_it_writes_runs_of_ids_with_blanks(home: Home) -> None:
    folder = home.path / "blanks"
    (folder / "qrels").mkdir(parents=True)
    (folder / "documents.jsonl").write_text(json.dumps({"id": "d 1", "text": "honey in the comb"}) + "\n")
    (folder / "queries.jsonl").write_text(json.dumps({"id": "q 1", "text": "honey"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq 1\td 1\t1\n")
    assert home.run("load", "jsonl", "--path", folder, "--to", home.path / "blank-index", "--lexical-only").code == 0
    asked = ("evaluate", "jsonl", "--path", folder, "--from", home.path / "blank-index", "--no-speed")
    done = home.run(*asked, "--run-out", home.path / "blank.trec")
    assert done.code == 0, done.err
    assert "1.000" in done.out
    assert "2 ids hold white space or %, written as in a URL (%20)" in done.err
    assert (home.path / "blank.trec").read_text().startswith("q%201 Q0 d%201 1 ")


def test_evaluate_says_when_it_asks_what_the_model_was_trained_on(home: Home) -> None:
    asked = ("evaluate", "jsonl", "--path", home.data, "--from", home.index, "--no-speed", "--systems", "bm25,knn")
    on_test, on_train = home.run(*asked), home.run(*asked, "--split", "train", "--format", "json")
    assert "queries of split test" in on_test.out
    assert "was trained on" not in on_test.err
    assert on_train.json["trained_on"] == 1.0
    assert "The model was trained on these queries (100% of a sample" in on_train.err
    beside_itself = home.run(*asked, "--split", "train", "--format", "json", "--against", home.index)
    assert beside_itself.json["trained_on"] == {"from": 1.0, "against": 1.0}
    assert "The model was trained on these queries (100% of a sample" in beside_itself.err
