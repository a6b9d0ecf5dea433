"""What the command line says when somebody interrupts it, or gives it what no system takes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import hybrid_search.cli
from hybrid_search import Document, LoadOptions
from hybrid_search.loading.sources import Corpus

ROOT = Path(__file__).parents[3]


def test_what_an_interruption_left_is_said_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def deploy() -> None:
        interruption = KeyboardInterrupt()
        interruption.add_note("Nothing of it is left on the server.")
        raise interruption

    monkeypatch.setattr("sys.argv", ["hybrid-search", "deploy"])
    monkeypatch.setattr(hybrid_search.cli.cli, "get_command", lambda context, name: deploy)
    with pytest.raises(SystemExit) as ended:
        hybrid_search.cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.split("\n")[-3:] == ["interrupted", "Nothing of it is left on the server.", ""]


def test_a_path_that_no_system_has_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hybrid-search", "train", "jsonl", "--path", "\ud800", "--out", "model"])
    with pytest.raises(SystemExit) as ended:
        hybrid_search.cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "Error: '\\ud800' can't be a path (surrogates not allowed); give another one\n"


WHILE_IMPORTING = """
import sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
"""


def test_ctrl_c_while_it_is_imported_is_one_line_and_130_too() -> None:
    module, name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["hybrid-search"].split(
        ":"
    )
    script = f"{WHILE_IMPORTING}\nfrom {module} import {name}\n{name}()"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_an_interrupted_load_says_what_is_kept(tmp_path: Path) -> None:
    def stopped() -> Iterator[Document]:
        yield from (Document(f"d{number}", "text") for number in range(60))
        raise KeyboardInterrupt

    def notes(*, recreate: bool = False) -> list[str]:
        options = LoadOptions(lexical_only=True, recreate=recreate)
        with pytest.raises(KeyboardInterrupt) as raised:
            hybrid_search.load(Corpus("stopped", stopped), at, options=options)
        return raised.value.__notes__

    at = tmp_path / "index"
    assert notes() == [f"{at}: nothing was kept"]
    assert not at.exists()
    whole = Corpus("two", lambda: iter([Document("a", "text"), Document("b", "text")]))
    hybrid_search.load(whole, at, options=LoadOptions(lexical_only=True))
    assert notes() == [f"{at} holds 2 documents; the next load into it goes on after them"]
    assert notes(recreate=True) == [f"{at} is as it was"]
