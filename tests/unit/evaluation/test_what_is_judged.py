"""An evaluation says what it could not judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybrid_search.cli.measuring.evaluate import print_evaluation
from hybrid_search.errors import DataError
from hybrid_search.evaluation.evaluate import EvaluateRequest, evaluate_index, evaluate_side_by_side
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.load import LoadOptions, load


def rows(mark: int) -> str:
    page = [{"is_selected": mark, "passage_text": "Fleas jump.", "url": "u"}]
    made = [{"query_id": n, "query": "do fleas jump", "passages": page, "answers": []} for n in range(4)]
    return "".join(json.dumps(row) + "\n" for row in made)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "documents.jsonl").write_text('{"id": "1", "text": "Fleas jump."}\n')
    data = open_dataset("jsonl", tmp_path / "documents.jsonl", reject=pytest.fail)
    load(data, tmp_path / "index", options=LoadOptions(lexical_only=True))
    return tmp_path / "index"


def test_a_split_that_nobody_judged_says_so_and_is_not_measured(index: Path, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(rows(-1))
    dataset = open_dataset("ms_marco", tmp_path / "test.jsonl", reject=pytest.fail)
    told = r"split 'test' of ms_marco has no judgements: 4 of its rows are marked as not judged \(is_selected -1\)"
    with pytest.raises(DataError, match=told):
        evaluate_index(dataset, index)
    with pytest.raises(DataError, match=told):
        evaluate_side_by_side(dataset, index, index)


def test_judged_queries_without_a_text_are_counted(index: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "documents.jsonl").write_text('{"id": "1", "text": "Fleas jump."}\n')
    (data / "queries.jsonl").write_text('{"id": "q", "text": "do fleas jump"}\n{"id": "unjudged", "text": "x"}\n')
    (data / "qrels" / "test.tsv").write_text("q\t1\t1\nlost\t1\t1\nlost\t2\t1\ngone\t1\t0\n")
    dataset = open_dataset("jsonl", data, reject=pytest.fail)
    result = evaluate_index(dataset, index, EvaluateRequest(speed=False))
    assert (result.evaluation.counts.queries, result.evaluation.counts.without_text) == (1, 2)
    (data / "queries.jsonl").write_text('{"id": "another", "text": "do fleas jump"}\n')
    with pytest.raises(DataError, match=r"none of the 0 queries has a judgement .*, 3 queries that are judged have no"):
        evaluate_index(dataset, index)


def test_that_no_relevant_document_is_in_the_index_is_said_first(index: Path, tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "documents.jsonl").write_text('{"id": "9", "text": "Fleas jump."}\n')
    (data / "queries.jsonl").write_text('{"id": "q", "text": "do fleas jump"}\n')
    (data / "qrels.test.tsv").write_text("q\t9\t1\n")
    result = evaluate_index(open_dataset("jsonl", data, reject=pytest.fail), index, EvaluateRequest(speed=False))
    print_evaluation(result)
    said = capsys.readouterr()
    assert said.err.startswith("None of the 1 relevant documents is in the index, so every figure is 0")
    assert "no system can find them" not in said.err


def test_a_document_is_in_an_index_of_passages_that_has_its_first_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "documents.jsonl").write_text('{"id": "9", "text": "Fleas jump. They bite."}\n')
    (data / "queries.jsonl").write_text('{"id": "q", "text": "do fleas jump"}\n')
    (data / "qrels.test.tsv").write_text("q\t9\t1\nq\t8\t1\n")
    cut = open_dataset("jsonl", data, reject=pytest.fail, config="passages")
    load(cut, tmp_path / "passages", options=LoadOptions(lexical_only=True))
    result = evaluate_index(cut, tmp_path / "passages", EvaluateRequest(speed=False))
    assert (result.evaluation.counts.relevant, result.evaluation.counts.relevant_missing) == (2, 1)
    assert result.evaluation.means["bm25"]["nDCG@10"] > 0.6
