"""The command line's contract, run as a user runs it, on a model and an index that it made itself."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import Ran
from conftest import ROOT, TINY, Home, as_options, run

MEASURES = {"nDCG@10", "RR@10", "AP", "P@10", "R@10", "R@100", "R@1000", "F1@10", "Success@10"}


def test_a_query_gives_five_hits_as_json_with_both_legs(home: Home) -> None:
    answer = home.run("query", "ice flows downhill", "--from", home.index, "--format", "json").json
    assert set(answer) == {"query", "mode", "took_ms", "hits"}
    assert (answer["query"], answer["mode"]) == ("ice flows downhill", "hybrid")
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    first = answer["hits"][0]
    more = {"passages", "highlights", "first_rank", "first_score"}
    assert set(first) == {"id", "rank", "score", "text", "title", "metadata", "legs", *more}
    assert first["title"] == "glaciers"
    assert set(first["legs"]) <= {"bm25", "knn"}
    assert sum(leg["share"] for leg in first["legs"].values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("mode", ["bm25", "knn"])
def test_one_leg_alone_can_be_asked(home: Home, mode: str) -> None:
    answer = home.run("query", "honey in the comb", "--from", home.index, "--mode", mode, "--format", "json").json
    assert answer["mode"] == mode
    assert all(set(hit["legs"]) == {mode} for hit in answer["hits"])
    assert answer["hits"][0]["title"] == "bees"


def test_a_filter_holds_in_every_hit(home: Home) -> None:
    answer = home.run(
        "query",
        "the spring",
        "--from",
        home.index,
        "-k",
        50,
        "--filter",
        'topic = "clocks" and year >= 2020',
        "--format",
        "json",
    ).json
    assert len(answer["hits"]) > 0
    assert all(hit["metadata"]["topic"] == "clocks" and hit["metadata"]["year"] >= 2020 for hit in answer["hits"])


def test_k_above_the_corpus_size_gives_what_there_is(home: Home) -> None:
    answer = home.run("query", "water", "--from", home.index, "-k", 5_000, "--format", "json").json
    assert 0 < len(answer["hits"]) <= 150


def test_queries_are_read_from_stdin_one_a_line(home: Home) -> None:
    done = home.run("query", "-", "--from", home.index, "--format", "jsonl", stdin="honey\n\nwind the spring\n")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["query"] for answer in answers] == ["honey", "wind the spring"]


def test_without_a_text_a_prompt_asks_until_an_empty_line(home: Home) -> None:
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "hybrid_search", "query", "--from", str(home.index)],
        stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, cwd=ROOT, text=True,
    )  # fmt: skip
    os.write(controller, b"honey in the comb\n\n")
    out, _ = child.communicate(timeout=60)
    os.close(terminal)
    os.close(controller)
    assert child.returncode == 0
    assert "bees" in out


def test_explain_shows_rank_score_weight_and_share_of_each_leg(home: Home) -> None:
    done = home.run("query", "rosin on the bow", "--from", home.index, "--explain", "-k", 1)
    assert "bm25" in done.out
    assert re.search(r"#\d+ ->", done.out)
    assert "%" in done.out


@pytest.mark.parametrize("text", ["", "   ", "🎻", "ꙮꙮꙮ", "\x00", '"AND (', "a" * 20_000])
def test_odd_queries_end_well(home: Home, text: str) -> None:
    if "\x00" in text:
        done = home.run("query", "-", "--from", home.index, "--format", "json", stdin=text + "\n")
    else:
        done = home.run("query", text, "--from", home.index, "--format", "json")
    assert done.code == 0, done.err
    assert len(done.json["hits"]) <= 5


def test_evaluate_prints_every_system_and_measure(home: Home) -> None:
    done = home.run(
        "evaluate", "jsonl", "--path", home.data, "--from", home.index, "--split", "test", "--format", "json"
    )
    assert done.code == 0, done.err
    report = done.json
    assert set(report["systems"]) == {"random", "bm25", "untrained", "knn", "hybrid"}
    assert all(set(values) == MEASURES for values in report["systems"].values())
    assert report["systems"]["bm25"]["nDCG@10"] > report["systems"]["random"]["nDCG@10"]
    assert {"significance", "latency_ms", "against_bm25"} <= set(report)
    compared = report["significance"]["systems"]["hybrid"]
    assert all(report["against_bm25"][name] == compared[name] for name in ("wins", "ties", "losses"))


def test_evaluate_writes_runs_that_trec_tools_read(home: Home) -> None:
    out = home.path / "run.trec"
    home.run("evaluate", "jsonl", "--path", home.data, "--from", home.index, "--split", "test", "--run-out", out)
    fields = out.read_text().splitlines()[0].split()
    assert len(fields) == 6
    assert fields[1] == "Q0"


def test_the_largest_wins_and_losses_are_read_on_a_terminal(home: Home) -> None:
    index = home.path / "leaning"
    home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", index, "--bm25-weight", 0.01)
    asked = ("evaluate", "jsonl", "--path", home.data, "--from", index, "--split", "test", "--no-speed")
    shown = home.run(*asked).out
    assert "losses of the hybrid against BM25 by nDCG@10" in shown
    assert "rank in BM25" in shown
    losses = home.run(*asked, "--format", "json").json["against_bm25"]["losses"]
    assert losses > 0
    assert sum(line.startswith(" loss ") for line in shown.splitlines()) == min(3, losses)
    assert "rank in BM25" not in home.run(*asked, "--changes", 0).out


def train_tiny(home: Home, name: str, *options: object) -> Ran:
    data = ("--path", home.data, "--out", home.path / name, "--format", "json")
    return home.run("train", "jsonl", *data, *TINY, *options)


def test_train_refreshes_negatives_and_tells_each_round(home: Home) -> None:
    trained = train_tiny(home, "refreshed", "--refresh", 1)
    assert trained.code == 0, trained.err
    assert [each["round"] for each in trained.json["rounds"]] == [0, 1]
    assert sum(each["kept"] for each in trained.json["rounds"]) == 1
    assert "round 1: validation nDCG@10 towers" in trained.err


def test_a_model_trained_with_a_queue_and_queries_read_forwards_is_loaded_and_searched(home: Home) -> None:
    trained = train_tiny(home, "queued", "--set", "training.queue=64", "--set", "towers.bidirectional_queries=no")
    assert trained.code == 0, trained.err
    index = home.path / "queued-index"
    assert home.run("load", "jsonl", "--path", home.data, "--model", home.path / "queued", "--to", index).code == 0
    described = home.run("info", index, "--verify", "--format", "json").json
    assert described["fingerprint"] == trained.json["fingerprint"]
    assert home.run("query", "honey", "--from", index, "--mode", "knn", "--format", "json").json["hits"]


def test_train_without_labels_is_one_command(home: Home) -> None:
    trained = train_tiny(home, "alone", "--split", "none")
    assert trained.code == 0, trained.err
    assert "learning from examples made out of the documents alone" in trained.err
    assert trained.json["defaults"]["fusion"]["weights"] == [0.7, 0.3]


def test_mined_negatives_are_read_by_train(home: Home) -> None:
    out = home.path / "negatives.jsonl"
    mined = home.run("mine", "jsonl", "--path", home.data, "--from", home.index, "--out", out, "--rank-window", "2-30")
    assert mined.code == 0, mined.err
    header, first = [json.loads(line) for line in out.read_text().splitlines()[:2]]
    assert header["source"] == "bm25"
    assert not {negative["id"] for negative in first["negatives"]} & set(first["positives"])
    trained = home.run(
        "train", "jsonl", "--path", home.data, "--out", home.path / "second", "--negatives-file", out, *TINY
    )
    assert trained.code == 0, trained.err


def test_info_describes_an_index_and_a_model_by_the_same_fingerprint(home: Home) -> None:
    index = home.run("info", home.index, "--verify", "--format", "json").json
    model = home.run("info", home.model, "--format", "json").json
    assert index["documents"] == 150
    assert index["fingerprint"] == model["fingerprint"]


def test_loading_again_encodes_nothing_and_loses_nothing(home: Home) -> None:
    again = home.run("load", "jsonl", "--path", home.data, "--to", home.index, "--format", "json").json
    assert (again["added"], again["unchanged"], again["documents"]) == (0, 150, 150)


def test_an_index_without_vectors_answers_by_bm25_and_says_why_not_otherwise(home: Home) -> None:
    plain = home.path / "plain"
    assert home.run("load", "jsonl", "--path", home.data, "--to", plain, "--lexical-only").code == 0
    assert home.run("query", "honey", "--from", plain, "--format", "json").json["mode"] == "bm25"
    refused = home.run("query", "honey", "--from", plain, "--mode", "knn")
    assert refused.code != 0
    assert "no vectors" in refused.err


def test_another_model_is_refused_with_both_fingerprints(home: Home) -> None:
    other = home.path / "other"
    mean = ("--seed", 7, "--set", "towers.encoder=mean")
    trained = home.run("train", "jsonl", "--path", home.data, "--out", other, *TINY, *mean)
    assert trained.code == 0, trained.err
    mine, theirs = (home.run("info", m, "--format", "json").json["fingerprint"][:12] for m in (home.model, other))
    refused = home.run("query", "honey", "--from", home.index, "--model", other)
    assert refused.code == 5
    assert mine in refused.err
    assert theirs in refused.err
    assert home.run("load", "jsonl", "--path", home.data, "--model", other, "--to", home.index).code == 5


def test_a_broken_line_goes_to_the_dead_letter_file_and_the_rest_is_loaded(home: Home) -> None:
    data = home.path / "broken"
    shutil.copytree(home.data, data)
    with (data / "documents.jsonl").open("a") as file:
        file.write('{"id": "x", "text": 5}\n{"id": "y", "text": "cut off\n')
    dead = home.path / "dead.jsonl"
    done = home.run(
        "load",
        "jsonl",
        "--path",
        data,
        "--to",
        home.path / "mended",
        "--lexical-only",
        "--dead-letter",
        dead,
        "--format",
        "json",
    )
    assert done.code == 3
    assert done.json["documents"] == 150
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert [line["line"] for line in lines] == [151, 152]
    assert str(dead) in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "x", "--from", "nowhere"], 4, "nowhere"),
        (["load", "jsonl", "--path", "nowhere", "--to", "i"], 3, "nowhere"),
        (["load", "nosuch", "--to", "i"], 2, "msmarco_passage"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--set", "towers.encoder=gruu"], 2, "one of mean, rnn"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--set", "training.batch_size=1"], 2, "from 2 to 65536"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--set", "training.negatives=bm52"], 2, "bm52"),
        (["query", "x", "--from", "index", "--filter", "topic ="], 2, "expected"),
        (["query", "x", "--from", "index", "--filter", "nosuch = 1"], 2, "topic"),
        (["query", "x", "--from", "index", "-k", "0"], 2, "k"),
        (["query", "x", "--from", "index", "--bm25-weight", "2"], 2, "0 to 1"),
        (["query", "x", "--from", "data"], 4, "data"),
        (["query", "x", "--from", "opensearch://127.0.0.1:1/a"], 4, "nothing answers"),
        (["evaluate", "jsonl", "--path", "data", "--from", "index", "--split", "nosuch"], 2, "train, test"),
        (["train", "jsonl", "--path", "data", "--out", "model"], 2, "--restart"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--split", "nosuch"], 2, "train, test"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--negatives-file", "nowhere"], 2, "nowhere"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--set", "training.negatives=dense"], 2, "mine --mode knn"),
        (["train", "jsonl", "--path", "data", "--out", "m", "--seed", "-5"], 2, "seed"),
        (["info", "nowhere"], 4, "nowhere"),
        (["train", "jsonl", "--path", "data", "--out", "data", "--max-steps", "5"], 2, "holds other files"),
        (["mine", "jsonl", "--path", "data", "--from", "index", "--out", "data/queries.jsonl"], 2, "something else"),
        (["load", "jsonl", "--path", "data", "--to", "i", "--dead-letter", "data/documents.jsonl"], 2, "lies in the"),
        (["load", "jsonl", "--path", "data", "--to", "localhost:9200"], 2, "opensearch://host:9200/index"),
    ],
)
def test_a_mistake_is_answered_by_one_clear_line_and_its_exit_code(
    home: Home, arguments: list[str], code: int, message: str
) -> None:
    done = home.run(*arguments)
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_killed_load_goes_on_with_the_same_command(home: Home) -> None:
    target = home.path / "killed"
    command = [
        sys.executable,
        "-m",
        "hybrid_search",
        "load",
        "jsonl",
        "--path",
        str(home.data),
        "--model",
        str(home.model),
        "--to",
        str(target),
    ]
    for delay in (0.4, 0.8, 1.2):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", target, "--format", "json")
    assert done.code == 0, done.err
    assert done.json["documents"] == 150
    assert home.run("info", target, "--verify").code == 0
    first = home.run("query", "ice flows downhill", "--from", home.index, "--format", "json").json["hits"]
    again = home.run("query", "ice flows downhill", "--from", target, "--format", "json").json["hits"]
    assert [(h["id"], h["score"]) for h in first] == [(h["id"], h["score"]) for h in again]


def test_killed_training_goes_on_and_ends_with_the_same_model(home: Home) -> None:
    arguments = ["train", "jsonl", "--path", str(home.data), "--out", "resumed", *map(str, TINY)]
    command = [sys.executable, "-m", "hybrid_search", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        command, cwd=home.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    state = home.path / "resumed.work" / "state.safetensors"  # without it there is nothing to lose yet
    deadline = time.monotonic() + 60
    while not state.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    other = home.run(*arguments, "--seed", 5)
    assert other.code == 6
    assert "--restart" in other.err
    assert home.run(*arguments).code == 0
    resumed = home.run("info", home.path / "resumed", "--format", "json").json["fingerprint"]
    assert resumed == home.run("info", home.model, "--format", "json").json["fingerprint"]


def test_ctrl_c_ends_with_one_line_and_130(home: Home) -> None:
    command = [
        sys.executable,
        "-m",
        "hybrid_search",
        "train",
        "jsonl",
        "--path",
        str(home.data),
        "--out",
        "stopped",
        *map(str, TINY),
        *as_options({"training.epochs": 4_000, "training.patience": 1_000}),
    ]
    child = subprocess.Popen(
        command,
        cwd=home.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    log = home.path / "stopped.work" / "log.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    # Interrupted while a library runs code through C, CPython ends by the signal though the interrupt was handled; a
    # shell tells both as 130.
    assert child.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
    assert "interrupted" in err


def test_the_reader_of_a_pipe_may_go_away(home: Home) -> None:
    command = f"{sys.executable} -m hybrid_search query water --from {home.index} -k 150 --format jsonl | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["quickstart", "train", "mine", "load", "query", "evaluate", "info"])
def test_every_verb_has_an_example_in_its_help(verb: str) -> None:
    done = run(verb, "--help", cwd=ROOT)
    assert done.code == 0
    assert f"hybrid-search {verb}" in done.out


def test_help_comes_quickly() -> None:
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "hybrid_search", "--help"], capture_output=True, cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Processor time, as a busy machine makes anything wait; a loose bound: benchmarks/startup.py has the figure.
    assert min(times) < 0.7
