"""``make opensearch``: what it says before there is a server."""

from __future__ import annotations

import signal

import pytest
from node import __main__ as command
from node.maven import Unavailable


def test_it_says_what_it_is_at_before_anything_takes_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before: list[str] = []

    def find_server(*, port: int, ml: bool) -> None:
        said_before.append(capsys.readouterr().err)
        raise Unavailable("no server here")

    monkeypatch.setenv("PORT", "9876")
    monkeypatch.setattr(command, "find_server", find_server)
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    assert command.main() == 1
    assert said_before == ["starting OpenSearch on port 9876; on a busy machine that takes minutes ...\n"]
    assert capsys.readouterr().err.startswith("no server here")
