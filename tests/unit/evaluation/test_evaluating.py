"""Which split is measured, on what the model was trained, and where runs can be written: found before measuring."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import DataError, StorageError, UsageError
from hybrid_search.evaluation.evaluate import EvaluateRequest, _split, evaluate_index
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.storage import check_writable
from hybrid_search.towers.model_card import sample_of
from hybrid_search.types import text_hash


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (("train", "dev", "test"), "test"),
        (("train", "dev", "validation"), "dev"),
        (("train", "validation", "zulu"), "validation"),
    ],
)
def test_without_a_name_the_first_of_test_dev_and_validation_is_measured(splits: tuple[str, ...], chosen: str) -> None:
    assert _split(SimpleNamespace(name="x", splits=lambda: splits), "") == chosen


@given(st.lists(st.sampled_from(["train", "dev", "validation", "test", "zulu", "train2"]), min_size=1, unique=True))
def test_a_split_to_train_on_is_never_chosen_unasked(splits: list[str]) -> None:
    dataset = SimpleNamespace(name="x", splits=lambda: tuple(splits), judgements=lambda split: [split])
    if {"test", "dev", "validation"} & set(splits):
        assert _split(dataset, "") in ("test", "dev", "validation")
    else:
        with pytest.raises(UsageError, match="name one with split=NAME"):
            _split(dataset, "")
    assert _split(dataset, splits[-1]) == splits[-1]


def test_queries_that_nobody_judged_are_told_as_that_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "d", "text": "a"}\n')
    (tmp_path / "queries.jsonl").write_text('{"id": "q", "text": "a"}\n')
    dataset = open_dataset("jsonl", tmp_path, reject=print)
    with pytest.raises(DataError, match=r"jsonl has queries and no judgements.*put qrels.tsv or qrels/test.tsv beside"):
        evaluate_index(dataset, tmp_path / "no-index", EvaluateRequest())


@pytest.mark.parametrize("place", ["data", "data/documents.jsonl/run.trec"])
def test_a_run_that_can_not_be_written_is_told_before_anything_is_measured(tmp_path: Path, place: str) -> None:
    (tmp_path / "data" / "qrels").mkdir(parents=True)
    (tmp_path / "data" / "documents.jsonl").write_text(json.dumps({"id": "d", "text": "a"}) + "\n")
    (tmp_path / "data" / "queries.jsonl").write_text(json.dumps({"id": "q", "text": "a"}) + "\n")
    (tmp_path / "data" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    dataset = open_dataset("jsonl", tmp_path / "data", reject=print)
    # There is no index either: whoever looked for it first would say so.
    with pytest.raises(StorageError, match="writing"):
        evaluate_index(dataset, tmp_path / "no-index", EvaluateRequest(run_out=tmp_path / place))


def test_the_check_leaves_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "run.trec"
    check_writable(file)
    assert list(file.parent.iterdir()) == []
    file.write_text("old")
    check_writable(file)
    assert [(path.name, path.read_text()) for path in file.parent.iterdir()] == [("run.trec", "old")]


def test_the_sample_of_training_queries_is_the_same_for_any_order_and_bounded() -> None:
    queries = [f"query {number}" for number in range(1_000)]
    sample = sample_of(queries)
    assert sample == sample_of(reversed(queries))
    assert len(sample) == 256
    assert set(sample) <= {text_hash(query) for query in queries}
