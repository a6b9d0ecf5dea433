from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import UsageError
from hybrid_search.evaluation.report import write_run
from hybrid_search.types import Ranking

RUN = {"q1": Ranking(("b", "a"), (1.5, 0.1)), "q2": Ranking(("c",), (2.0,))}


def test_a_run_is_written_as_trec_has_it(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 b 1 1.5 hybrid\nq1 Q0 a 2 0.1 hybrid\nq2 Q0 c 1 2.0 hybrid\n"


def test_ir_measures_reads_what_was_written(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    run = [tuple(line) for line in ir_measures.read_trec_run(str(tmp_path / "run.trec"))]
    assert run == [("q1", "b", 1.5), ("q1", "a", 0.1), ("q2", "c", 2.0)]


def test_white_space_in_an_id_is_written_as_in_a_url_and_counted(tmp_path) -> None:
    run = {"q 1": Ranking(("two words", "tab\there", "100%", "wide\u3000blank", "plain"), (5.0, 4.0, 3.0, 2.0, 1.0))}
    assert write_run(tmp_path / "run.trec", run, tag="x") == 5
    assert [line.split()[:3] for line in (tmp_path / "run.trec").read_text().splitlines()] == [
        ["q%201", "Q0", "two%20words"],
        ["q%201", "Q0", "tab%09here"],
        ["q%201", "Q0", "100%25"],
        ["q%201", "Q0", "wide%E3%80%80blank"],
        ["q%201", "Q0", "plain"],
    ]


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_any_ids_come_back_from_a_run_each_in_one_column(ids: list[str]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "run.trec"
        encodable = [id for id in ids if id.encode("utf-8", "replace").decode() == id]
        write_run(file, {"q": Ranking(tuple(encodable), (1.0,) * len(encodable))}, tag="x")
        lines = [line for line in file.read_bytes().decode().split("\n") if line]
    assert [unquote(line.split(" ")[2]) for line in lines] == encodable
    assert all(len(line.split()) == 6 for line in lines)


def test_a_tag_of_two_words_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="must be one word"):
        write_run(tmp_path / "run.trec", RUN, tag="two words")
    assert not list(tmp_path.iterdir())
