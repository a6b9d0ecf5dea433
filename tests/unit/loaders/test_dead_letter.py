import json
import os
from pathlib import Path

import pytest

from hybrid_search.errors import StorageError
from hybrid_search.loaders import DeadLetter
from hybrid_search.types import Rejection


def test_a_clean_run_leaves_no_file(tmp_path):
    with DeadLetter(tmp_path / "dead.jsonl") as dead:
        pass
    assert dead.count == 0
    assert list(tmp_path.iterdir()) == []


def test_each_rejection_is_one_json_line_with_its_record(tmp_path):
    path = tmp_path / "made" / "dead.jsonl"
    with DeadLetter(path) as dead:
        dead(Rejection("a.tsv", 3, "grade", "not an integer", "q\td\tx"))
        dead(Rejection("a.tsv", 9, "grade", "not an integer", "é\ud800\n\0"))
        dead(Rejection("b.tsv", 1, "", "not UTF-8"))
    first, second, third = (json.loads(line) for line in path.read_text("ascii").splitlines())
    assert first == {
        "run": dead.run,
        "source": "a.tsv",
        "line": 3,
        "field": "grade",
        "reason": "not an integer",
        "record": "q\td\tx",
    }
    assert second["record"] == "é\ud800\n\0"
    assert third["record"] == ""
    assert dead.count == 3
    assert dead.reasons == {"grade: not an integer": 2, "not UTF-8": 1}


def test_a_rejection_is_on_disk_before_the_file_is_closed(tmp_path):
    with DeadLetter(tmp_path / "dead.jsonl") as dead:
        dead(Rejection("a", 1, "", "bad"))
        assert len((tmp_path / "dead.jsonl").read_bytes().splitlines()) == 1


def test_each_run_has_a_file_of_its_own_and_its_name_in_each_line(tmp_path):
    for run in ("first", "second", "third"):
        with DeadLetter(tmp_path / "dead.jsonl", run) as dead:
            dead(Rejection("a", 1, "", "bad"))
        os.utime(tmp_path / "dead.jsonl", (0, 0))
    runs = {path.name: json.loads(path.read_text())["run"].split()[0] for path in tmp_path.iterdir()}
    assert runs == {
        "dead-19700101T000000Z.jsonl": "first",
        "dead-19700101T000000Z-2.jsonl": "second",
        "dead.jsonl": "third",
    }


def test_the_files_of_the_last_ten_runs_are_kept_and_others_are_let_alone(tmp_path):
    (tmp_path / "dead-notes.jsonl").write_text("mine")
    for run in range(14):
        with DeadLetter(tmp_path / "dead.jsonl", str(run)) as dead:
            dead(Rejection("a", 1, "", "bad"))
        os.utime(tmp_path / "dead.jsonl", (run, run))
    runs = sorted(int(json.loads(one.read_text())["run"].split()[0]) for one in tmp_path.glob("dead-1970*"))
    assert runs == list(range(3, 13))
    assert (tmp_path / "dead-notes.jsonl").read_text() == "mine"


def test_a_clean_run_leaves_the_file_of_the_one_before(tmp_path):
    (tmp_path / "dead.jsonl").write_text("{}\n")
    with DeadLetter(tmp_path / "dead.jsonl"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["dead.jsonl"]


def test_a_file_that_can_not_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    dead = DeadLetter(tmp_path / "file" / "dead.jsonl")
    with pytest.raises(StorageError, match=r"dead-letter file .*dead\.jsonl can't be written: File exists"):
        dead(Rejection("a", 1, "", "bad"))


def test_a_full_disk_is_a_storage_error():
    dead = DeadLetter(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left on device"):
        dead(Rejection("a", 1, "", "bad"))
