"""The answer-hit rate: the first documents contain a known answer in words, judged or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hybrid_search
from hybrid_search import LoadOptions
from hybrid_search.errors import DataError
from hybrid_search.evaluation.evaluate import EvaluateRequest, evaluate_index
from hybrid_search.evaluation.protocol import EvaluationSettings
from hybrid_search.loaders.registry import open_dataset

BEES = "Bees bees bees make wax."  # ranks above the others for a question about bees
HONEY = "Bees live on honey, and on pollen."
ONLY = "Bees are not found in the Antarctic."


def row(id: int, query: str, chosen: str, answers: list[str]) -> dict[str, object]:
    passages = [{"is_selected": int(text == chosen), "passage_text": text, "url": "u"} for text in (BEES, HONEY, ONLY)]
    return {"query_id": id, "query": query, "query_type": "x", "passages": passages, "answers": answers}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    judged = [
        row(1, "what do bees eat", ONLY, ["Honey", "on  POLLEN"]),  # in a document that nobody selected, at rank 2 or 3
        row(2, "bees", BEES, ["make wax"]),  # at rank 1
        row(3, "where are bees", ONLY, ["Antarctica"]),  # a part of no word: Antarctic is another one
        row(4, "are bees alive", HONEY, ["yes"]),  # would be found in any text
    ]
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(one) + "\n" for one in judged))
    return tmp_path


def test_a_document_with_the_answer_counts_from_its_rank_on_whether_it_was_judged_or_not(rows: Path) -> None:
    data = open_dataset("ms_marco", rows, reject=print)
    hybrid_search.load(data, rows / "index", options=LoadOptions(lexical_only=True))
    names = ("AnswerHit@1", "nDCG@5", "AnswerHit@3")
    settings = EvaluationSettings(systems=("bm25",), measures=names, keep_runs=False)
    result = evaluate_index(data, rows / "index", EvaluateRequest(settings=settings, speed=False))
    values = result.evaluation.values["bm25"]
    assert values["AnswerHit@1"] == {"1": 0.0, "2": 1.0, "3": 0.0}
    assert values["AnswerHit@3"] == {"1": 1.0, "2": 1.0, "3": 0.0}
    assert result.evaluation.means["bm25"]["AnswerHit@3"] == pytest.approx(2 / 3)
    assert len(values["nDCG@5"]) == 4


def test_a_data_set_without_answers_is_told_as_that_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "documents.jsonl").write_text('{"id": "d", "text": "a"}\n')
    (tmp_path / "queries.jsonl").write_text('{"id": "q", "text": "a"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    data = open_dataset("jsonl", tmp_path, reject=print)
    request = EvaluateRequest(settings=EvaluationSettings(measures=("AnswerHit@5",)))
    with pytest.raises(DataError, match="has no answers in words, which AnswerHit needs"):
        evaluate_index(data, tmp_path / "no-index", request)
