"""What the command line does with records that can't be taken, run as a user runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Ran
from conftest import ROOT, Home


@pytest.fixture(scope="module")
def with_two_blanks(home: Home) -> Path:
    """Three hundred documents and two blank ones, as Cranfield has them."""
    path = home.path / "with-two-blanks.jsonl"
    texts = [json.loads(line)["text"] for line in (home.data / "documents.jsonl").read_text().splitlines()]
    lines = [json.dumps({"id": f"d{n}", "text": text}) for n, text in enumerate(2 * texts)]
    path.write_text("\n".join([*lines[:7], '{"id": "b1", "text": ""}', *lines[7:], '{"id": "b2", "text": " "}']))
    return path


def loaded(home: Home, path: Path, name: str, *options: object) -> Ran:
    dead = ("--dead-letter", home.path / f"{name}.jsonl")
    return home.run(
        "load", "jsonl", "--path", path, "--to", home.path / name, *dead, "--lexical-only", "--format", "json", *options
    )


def test_a_few_blank_documents_are_a_warning_at_the_end(home: Home, with_two_blanks: Path) -> None:
    done = loaded(home, with_two_blanks, "few-blanks")
    assert done.code == 0, done.err
    assert (done.json["documents"], done.json["rejected"]) == (300, 2)
    assert done.err.splitlines()[-1].startswith("Warning: 2 of 302 records were rejected and are in ")
    assert "text: blank, and so is the title (2), which is allowed (--allow-rejected 1%)" in done.err


@pytest.mark.parametrize(("allow", "code"), [("0", 3), ("1", 3), ("2", 0), ("0.5%", 3), ("0.7%", 0)])
def test_how_many_are_allowed_is_ones_own_choice(home: Home, with_two_blanks: Path, allow: str, code: int) -> None:
    assert loaded(home, with_two_blanks, "chosen", "--allow-rejected", allow).code == code


def test_what_is_no_number_and_no_share_is_refused_before_any_work(home: Home, with_two_blanks: Path) -> None:
    done = loaded(home, with_two_blanks, "untouched", "--allow-rejected", "few")
    assert done.code == 2
    assert "'few' is no allowance: write a number of records, such as 20, or a share, such as 1%" in done.err
    assert not (home.path / "untouched").exists()


@pytest.mark.parametrize("verb", ["evaluate", "train", "mine"])
def test_labels_that_are_all_refused_are_said_first_with_the_first_reason(home: Home, verb: str) -> None:
    data = home.path / "without-labels"
    if not data.exists():
        shutil.copytree(home.data, data)
        for file in (data / "qrels").iterdir():
            lines = [line.split("\t") for line in file.read_text().splitlines()]
            file.write_text("\n".join("\t".join([query, document, "high"]) for query, document, *_ in lines))
    options = {
        "evaluate": ("--from", home.index, "--split", "test"),
        "train": ("--out", home.path / "never"),
        "mine": ("--from", home.index, "--out", home.path / "never.jsonl"),
    }[verb]
    done = home.run(verb, "jsonl", "--path", data, "--dead-letter", home.path / f"labels-{verb}.jsonl", *options)
    assert done.code == 3, done.err
    told = next(line for line in done.err.splitlines() if line.startswith("Error: "))
    assert told.startswith("Error: All ")
    assert "records of" in told
    assert "grade: not a whole number: 'high'" in told


def test_an_empty_file_makes_no_index(home: Home) -> None:
    (home.path / "empty.jsonl").write_text("\n")
    done = loaded(home, home.path / "empty.jsonl", "none")
    assert done.code == 3
    assert "empty.jsonl is empty: there are no documents in it" in done.err
    assert not (home.path / "none").exists()


def test_documents_of_which_none_can_be_taken_make_no_index(home: Home) -> None:
    (home.path / "bad.jsonl").write_text('{"id": "1"}\n{"id": "2"}\n')
    done = loaded(home, home.path / "bad.jsonl", "none")
    assert done.code == 3
    assert "Error: All 2 records of" in done.err
    assert "(the first, at line 1: text: blank, and so is the title)" in done.err
    assert not (home.path / "none").exists()


def test_documents_come_from_standard_input(home: Home, with_two_blanks: Path) -> None:
    command = [sys.executable, "-m", "hybrid_search", "load", "jsonl", "--path", "-", "--to", str(home.path / "piped")]
    dead = ["--dead-letter", str(home.path / "piped.jsonl"), "--lexical-only", "--format", "json"]
    done = subprocess.run(
        [*command, *dead], input=with_two_blanks.read_bytes(), capture_output=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == 300


def test_judged_queries_without_a_text_are_counted_and_said(home: Home) -> None:
    data = home.path / "without-texts"
    shutil.copytree(home.data, data)
    with (data / "qrels" / "test.tsv").open("a") as file:
        file.write("\nnobody\td0\t1\nnobody\td1\t1\nnobody either\td1\t1\n")
    asked = ("evaluate", "jsonl", "--path", data, "--from", home.index, "--split", "test", "--no-speed")
    assert "2 judged queries have no text" in home.run(*asked).err
    assert home.run(*asked, "--format", "json").json["counts"]["without_text"] == 2
