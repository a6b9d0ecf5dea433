from __future__ import annotations

import ir_measures
import pytest

from hybrid_search.errors import DataError, StorageError
from hybrid_search.evaluation.runs import read_run, write_qrels, write_run
from hybrid_search.types import Judgement, Ranking

RUN = {"q1": Ranking(("b", "a"), (1.5, 0.1)), "q2": Ranking(("c",), (2.0,))}


def test_a_run_is_written_as_trec_has_it(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 b 1 1.5 hybrid\nq1 Q0 a 2 0.1 hybrid\nq2 Q0 c 1 2.0 hybrid\n"


def test_a_run_reads_back_as_it_was(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    assert read_run(tmp_path / "run.trec") == RUN


def test_ranks_decide_the_order_that_is_read(tmp_path) -> None:
    (tmp_path / "run.trec").write_text("q Q0 second 2 0.5 x\nq Q0 first 1 0.5 x\n")
    assert read_run(tmp_path / "run.trec")["q"].ids == ("first", "second")


def test_ir_measures_reads_what_was_written(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    write_qrels(tmp_path / "qrels", [Judgement("q1", "a", 2), Judgement("q2", "z", 0)])
    assert (tmp_path / "qrels").read_text() == "q1 0 a 2\nq2 0 z 0\n"
    run = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels")))
    assert ir_measures.calc_aggregate([ir_measures.RR], qrels, run)[ir_measures.RR] == 0.25


@pytest.mark.parametrize(
    ("line", "message"),
    [("q Q0 d 1 0.5", "5 columns instead of 6"), ("q Q0 d first 0.5 x", "first"), ("q Q0 d 1 high x", "high")],
)
def test_a_line_that_is_none_of_a_run_is_named(tmp_path, line, message) -> None:
    (tmp_path / "run.trec").write_text(f"q Q0 a 1 0.5 x\n{line}\n")
    with pytest.raises(DataError, match=f"line 2: not a line of a TREC run: .*{message}"):
        read_run(tmp_path / "run.trec")


def test_a_missing_file_is_a_storage_error(tmp_path) -> None:
    with pytest.raises(StorageError, match=r"reading .*none\.trec"):
        read_run(tmp_path / "none.trec")


@pytest.mark.parametrize("id", ["two words", "", "tab\there"])
def test_an_id_that_the_format_can_not_express_is_refused_and_nothing_is_written(tmp_path, id) -> None:
    with pytest.raises(DataError, match="one word without white space"):
        write_run(tmp_path / "run.trec", {"q": Ranking((id,), (1.0,))}, tag="x")
    assert not list(tmp_path.iterdir())
