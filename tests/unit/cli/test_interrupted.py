"""What the command line says when somebody interrupts it, or gives it what no system takes."""

from __future__ import annotations

import click
import pytest

import hybrid_search.cli


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
