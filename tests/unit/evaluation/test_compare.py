"""Indexes, settings and run files in one table."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.compare import CompareRequest, Contender, Row, _is_optimal, compare_systems
from hybrid_search.evaluation.latency import Latency
from hybrid_search.evaluation.report import read_run, write_run
from hybrid_search.evaluation.significance import compare
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.protocols import Dataset
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.types import Document, Ranking

TEXTS = {"a 1": "bees make honey", "b": "bees sting", "c": "clocks tick", "d%41": "clocks and bees"}
QUERIES = {"q1": "honey", "q2": "clocks", "q3": "sting", "q4": "none of these"}
RELEVANT = {"q1": "a 1", "q2": "d%41", "q3": "b", "q4": "c"}


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"id": id, "text": text}) for id, text in TEXTS.items()]
    (folder / "documents.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"id": id, "text": text}) for id, text in QUERIES.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    lines = [f"{query}\t{document}\t1" for query, document in RELEVANT.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return open_dataset("jsonl", folder, reject=print)


def run_file(path: Path, **rankings: str) -> str:
    write_run(path, {query: Ranking((id,), (1.0,)) for query, id in rankings.items()}, tag="x")
    return str(path)


def test_a_run_is_scored_without_an_index_and_differs_from_itself_by_nothing(data: Dataset, tmp_path: Path) -> None:
    good = run_file(tmp_path / "good.trec", **RELEVANT)
    poor = run_file(tmp_path / "poor.trec", q1="b", q2="d%41")
    contenders = [Contender.parse(text) for text in (f"one={good}", f"same={good}", poor)]
    found = compare_systems(data, contenders, CompareRequest(measures=("RR@10", "Success@1")))
    one, same, other = found.rows
    assert (found.split, found.baseline, found.queries, found.measures) == ("test", "one", 4, ("RR@10", "Success@1"))
    assert one.means == same.means == {"RR@10": 1.0, "Success@1": 1.0}
    assert (same.comparison.difference, same.comparison.difference_interval, same.comparison.p_value) == (0, (0, 0), 1)
    assert other.means == {"RR@10": 0.25, "Success@1": 0.25}
    assert (other.name, other.missing, other.comparison.losses, other.comparison.difference) == (poor, 2, 3, -0.75)
    assert [(row.bytes, row.latency, row.is_optimal) for row in found.rows] == [(None, None, False)] * 3


def test_an_index_stands_beside_its_own_run(data: Dataset, tmp_path: Path) -> None:
    with closing(EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as engine:
        engine.add([Document(id, text) for id, text in TEXTS.items()], None)
        engine.commit()
    run = run_file(tmp_path / "run", q1="a 1", q2="c", q3="b")
    contenders = [Contender.parse(f"bm25={tmp_path / 'index'}?mode=bm25"), Contender.parse(f"run={run}")]
    found = compare_systems(data, contenders, CompareRequest(measures=("nDCG@1",), baseline="run"))
    index, of_run = found.rows
    assert index.means == of_run.means == {"nDCG@1": 0.5}  # of the two documents with clocks the shorter one is first
    assert index.comparison.difference == 0
    assert index.latency is not None
    assert index.latency.p50 <= index.latency.p95 <= index.latency.p99
    assert (index.bytes or 0) > 1_000
    assert 0 < (index.memory or 1) < 2**30  # not known but on Linux
    assert (index.encoded, index.training) == (None, None)  # there are no towers
    assert (of_run.memory, of_run.encoded, of_run.training) == (None, None, None)
    assert (index.is_optimal, of_run.is_optimal) == (True, False)


def test_a_run_leaves_out_what_an_index_leaves_out_a_query_that_is_the_document_itself(tmp_path: Path) -> None:
    texts = {"p": "quiet cat", "n": "cat ignores burglars", "o": "dog guards", "a": "dog barks"}
    (folder := tmp_path / "arguments" / "qrels").mkdir(parents=True)
    lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
    (folder.parent / "documents.jsonl").write_text("\n".join(lines))
    (folder.parent / "queries.jsonl").write_text("\n".join(lines[::2]))
    (folder / "test.tsv").write_text("query-id\tcorpus-id\tscore\np\tn\t1\no\ta\t1\n")
    arguments = open_dataset("jsonl", folder.parent, reject=print)
    run = tmp_path / "run"
    write_run(run, {"p": Ranking(("p", "n"), (2.0, 1.0)), "o": Ranking(("a", "o"), (2.0, 1.0))}, tag="x")
    request = CompareRequest(measures=("RR@10",))
    left_out = compare_systems(arguments, [Contender.parse(str(run))], request)
    kept = compare_systems(arguments, [Contender.parse(str(run))], replace(request, keep_identical=True))
    assert (left_out.rows[0].means["RR@10"], left_out.identical) == (1.0, 2)
    assert (kept.rows[0].means["RR@10"], kept.identical) == (0.75, 0)


def test_what_can_not_be_compared_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to compare"):
        compare_systems(data, [])
    with pytest.raises(UsageError, match="bm25_weight is ''; it must be a number"):
        Contender.parse("x=index?bm25_weight=").fusion(Fusion())
    run = run_file(tmp_path / "run", **RELEVANT)
    with pytest.raises(UsageError, match="two contenders are called 'x'"):
        compare_systems(data, [Contender.parse(f"x={run}")] * 2)
    with pytest.raises(UsageError, match="the baseline 'y' is not compared; there are x"):
        compare_systems(data, [Contender.parse(f"x={run}")], CompareRequest(baseline="y"))
    for text, why in (
        ("./index?k=3", "no setting 'k'; there are mode, model"),
        ("./index?mode=both", "mode is 'both'"),
        (f"{run}?mode=bm25", "is a run file, which has no settings"),
    ):
        with pytest.raises(UsageError, match=why):
            Contender.parse(text)
    for settings in ({"window": "many"}, {"bm25_weight": "2"}, {"method": "sum"}):
        with pytest.raises(UsageError, match=r"^x: "):
            Contender("x", "./index", settings).fusion(Fusion())


def test_settings_change_the_fusion_of_the_index_and_nothing_else() -> None:
    one = Contender.parse("rrf=opensearch://host:9200/index?method=rrf&bm25_weight=0.7&window=50")
    assert (one.name, one.place) == ("rrf", "opensearch://host:9200/index")
    assert one.fusion(Fusion(rank_constant=9)) == Fusion("rrf", "arithmetic", (0.7, 0.3), 50, 9)
    assert Contender.parse("./index").fusion(Fusion()) is None
    assert Contender.parse("opensearch://host:9200/a=b").name == "opensearch://host:9200/a=b"


def test_the_pareto_front_is_what_none_beats_in_quality_speed_and_size() -> None:
    comparison = compare({"bm25": {"q": 1.0, "r": 0.0}})["bm25"]

    def row(quality: float, p50: float, size: int | None) -> Row:
        return Row("x", {"AP": quality}, comparison, 0, Latency(p50, p50, p50, 1.0), size, False, 0.0)

    rows = [row(0.5, 1, 10), row(0.4, 2, 10), row(0.4, 0.5, 10), row(0.6, 9, 99), row(0.5, 1, 10), row(0.9, 0, None)]
    assert [_is_optimal(one, rows, "AP") for one in rows] == [True, False, True, True, True, False]


def test_a_run_is_ranked_by_score_then_by_rank_and_its_ids_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("q Q0 b 2 1.5 x\nq Q0 a%201 1 1.5 x\n\nq Q0 c%25 3 2e0 x\n")
    assert read_run(path) == {"q": Ranking(("c%", "a 1", "b"), (2.0, 1.5, 1.5))}
    assert read_run(path, {"a%201"})["q"].ids == ("c%", "a%201", "b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("q Q0 a 1 1.0 x\nq Q0 a 2 0.5 x\n", "line 2: query q has the document a twice"),
        ("q a 1 1.0 x\n", "line 1: 5 columns"),
        ("q Q0 a first 1.0 x\n", "line 1: rank first and score 1.0 must be numbers"),
        ("q Q0 a 1 nan x\n", "line 1: rank 1 and score nan must be numbers"),
    ],
)
def test_a_damaged_run_is_refused_by_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "run"
    path.write_text(text)
    with pytest.raises(DataError, match=why):
        read_run(path)
