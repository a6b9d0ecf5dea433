from __future__ import annotations

import ir_measures
import pytest

from hybrid_search.errors import DataError
from hybrid_search.evaluation.runs import write_run
from hybrid_search.types import Ranking

RUN = {"q1": Ranking(("b", "a"), (1.5, 0.1)), "q2": Ranking(("c",), (2.0,))}


def test_a_run_is_written_as_trec_has_it(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 b 1 1.5 hybrid\nq1 Q0 a 2 0.1 hybrid\nq2 Q0 c 1 2.0 hybrid\n"


def test_ir_measures_reads_what_was_written(tmp_path) -> None:
    write_run(tmp_path / "run.trec", RUN, tag="hybrid")
    run = [tuple(line) for line in ir_measures.read_trec_run(str(tmp_path / "run.trec"))]
    assert run == [("q1", "b", 1.5), ("q1", "a", 0.1), ("q2", "c", 2.0)]


@pytest.mark.parametrize("id", ["two words", "", "tab\there"])
def test_an_id_that_the_format_can_not_express_is_refused_and_nothing_is_written(tmp_path, id) -> None:
    with pytest.raises(DataError, match="one word without white space"):
        write_run(tmp_path / "run.trec", {"q": Ranking((id,), (1.0,))}, tag="x")
    assert not list(tmp_path.iterdir())
