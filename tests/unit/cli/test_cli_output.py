import re

import pytest

from hybrid_search.cli import output
from hybrid_search.cli.query import print_hits
from hybrid_search.evaluation.measures import MEASURES
from hybrid_search.evaluation.report import measure_rows


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


def test_a_heading_is_as_wide_as_the_terminal_and_not_as_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_hits("password " * 10_000, "hybrid", 177.0, [])
    heading = capsys.readouterr().out.splitlines()[0]
    assert re.fullmatch(r"(password ){11}p…   \(hybrid, 0 hits, 177.0 ms\)", heading.strip()), heading


def shown_at(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *table: object) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_table(*table[:2], right=table[2])
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("width", [80, 100, 60, 20])
def test_the_measures_of_an_evaluation_are_whole_on_any_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"untrained": dict.fromkeys(MEASURES, 0.1234), "bm25": dict.fromkeys(MEASURES, 0.5)}
    rows = measure_rows(values)
    lines = [line.split() for line in shown_at(width, monkeypatch, capsys, rows[0], rows[1:], rows[0][1:]).splitlines()]
    assert ["system", *MEASURES] in lines
    assert ["untrained", *["0.123"] * len(MEASURES)] in lines
    assert ["bm25", *["0.500"] * len(MEASURES)] in lines


def test_text_is_broken_where_numbers_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown_at(40, monkeypatch, capsys, ["score", "text"], [["0.9912", "word " * 30]], ["score"])
    assert "0.9912" in out
    assert out.count("word") == 30
    assert max(map(len, out.splitlines())) <= 40


def test_gaps_in_a_snippet_are_closed_and_marks_stay_on_their_words() -> None:
    text = "  a   flea and      a cat"
    marked = output.Marked.of(text, [(text.index(word), text.index(word) + len(word)) for word in ("flea", "cat")])
    closed = marked.without_gaps()
    assert closed == " a flea and a cat"
    assert [closed[start:end] for start, end in closed.spans] == ["flea", "cat"]
