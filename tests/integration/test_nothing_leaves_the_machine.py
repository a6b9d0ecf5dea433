"""The verbs under watch: no name is looked up, no address asked, nothing written at home but our own cache."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from conftest import ROOT, TINY, Home
from watching import Seen, can_watch_the_network, watched

if not can_watch_the_network():
    pytest.skip("strace is not installed, and without it the network can't be watched", allow_module_level=True)

# The data set's loader and the index are on this machine, so nothing has a reason to leave it.
VERBS: dict[str, Sequence[object]] = {
    "train": ("train", "jsonl", "--path", "data", "--out", "watched-model", *TINY),
    "sweep": (
        "sweep",
        "jsonl",
        "--path",
        "data",
        "--out",
        "watched-study",
        "--trials",
        "1",
        "--check-on",
        "none",
        *TINY,
    ),
    "mine": ("mine", "jsonl", "--path", "data", "--from", "index", "--out", "watched.jsonl"),
    "load": ("load", "jsonl", "--path", "data", "--model", "model", "--to", "watched-index"),
    "query": ("query", "honey in the comb", "--from", "index"),
    "evaluate": ("evaluate", "jsonl", "--path", "data", "--from", "index", "--split", "test"),
    "info": ("info", "index", "--verify"),
    "refit": ("refit", "index", "jsonl", "--path", "data", "--split", "test", "--dry-run"),
    "tune": ("tune", "index", "jsonl", "--path", "data", "--split", "test"),
    "diagnose": ("diagnose", "index", "jsonl", "--path", "data", "--split", "test"),
    "settings": ("settings",),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_asks_nobody_and_writes_nothing_at_home(home: Home, verb: str) -> None:
    command = [sys.executable, "-m", "hybrid_search", *map(str, VERBS[verb])]
    seen = watched(command, home.path / f"home-of-{verb}", cwd=home.path, environment={"PYTHONPATH": str(ROOT)})
    assert seen.code == 0, seen.err
    assert_kept_to_itself(seen)


def test_the_library_asks_nobody_either(home: Home) -> None:
    code = "import hybrid_search\nwith hybrid_search.open('index') as index: print(index.search('honey')[0].title)"
    seen = watched(
        [sys.executable, "-c", code],
        home.path / "home-of-library",
        cwd=home.path,
        environment={"PYTHONPATH": str(ROOT)},
    )
    assert (seen.code, seen.out) == (0, "bees\n"), seen.err
    assert_kept_to_itself(seen)


def assert_kept_to_itself(seen: Seen) -> None:
    assert [file for file in seen.files if not file.startswith(".cache/hybrid-search/")] == []
    assert seen.asked == ()
