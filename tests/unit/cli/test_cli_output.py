import pytest

from hybrid_search.cli import output


def test_without_a_terminal_long_work_speaks_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_SECONDS_BETWEEN_LINES", 0.0)
    with output.progress("encoding", 4) as task:
        task.advance(2)
        task.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("encoding: 2 of 4, ")
    assert lines[-1].startswith("encoding: 4 in ")


def test_work_that_turns_out_to_be_none_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("indexing", None):
        pass
    assert capsys.readouterr().err == ""


def test_brackets_in_a_document_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["text"], [["see [bold]x[/bold] and [1]"]])
    assert "see [bold]x[/bold] and [1]" in capsys.readouterr().out
