"""A run that was interrupted, or failed early: on the same data it goes on, on other data never."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hybrid_search.errors import HybridSearchError, IndexLocked, ResumeMismatch, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.protocols import Reporter
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.training.corpus import open_corpus
from hybrid_search.training.resume import WorkFolder
from hybrid_search.training.train import TrainRequest, TrainSummary, train
from hybrid_search.types import Rejection

TOWERS = TowerConfig(encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
CONFIG = TrainConfig(
    batch_size=8, max_steps=12, evaluate_every=4, checkpoint_every=4, min_frequency=1, vocabulary=300,
    word_vectors=WordVectorConfig(algorithm="random"),
)  # fmt: skip


class Stopped(Exception):
    pass


class StopsAt:
    """A tracker that ends the process's work at a step, as a kill does."""

    def __init__(self, step: int) -> None:
        self._step = step

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        if step >= self._step and "loss" in values:
            raise Stopped

    def close(self) -> None:
        pass


def write(folder: Path, *, word: str = "w", answer: int = 0, documents: int = 60, broken: int = 0) -> None:
    """Write documents of ten words, and a question to each of the first 40."""
    folder.mkdir(exist_ok=True)
    (folder / "qrels").mkdir(exist_ok=True)
    lines = [
        json.dumps({"id": f"d{i}", "text": " ".join(f"{word}{(i * 7 + j) % 50}" for j in range(10))})
        for i in range(documents)
    ]
    (folder / "documents.jsonl").write_text("\n".join([*lines, *["{broken"] * broken]) + "\n")
    questions = [json.dumps({"id": f"q{i}", "text": f"{word}{i * 7 % 50} {word}{(i * 7 + 3) % 50}"}) for i in range(40)]
    (folder / "queries.jsonl").write_text("\n".join(questions) + "\n")
    judged = [f"q{i}\td{(i + answer) % documents}\t1" for i in range(40)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged) + "\n")


def trained(
    data: Path, *, stop: int | None = None, rejected: list[Rejection] | None = None, said: list[str] | None = None,
    **changes: object,
) -> TrainSummary:  # fmt: skip
    reject = [].append if rejected is None else rejected.append
    request = TrainRequest(towers=TOWERS, config=CONFIG.replace(**changes))
    tracker = None if stop is None else StopsAt(stop)
    return train(
        open_dataset("jsonl", data, reject=reject), data.parent / "model", request,
        tracker=tracker, reject=reject, say=[].append if said is None else said.append,
    )  # fmt: skip


def interrupted(data: Path, at: int = 8) -> WorkFolder:
    with pytest.raises(Stopped):
        trained(data, stop=at)
    return WorkFolder(data.parent / "model")


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one_does(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "data")
    work = interrupted(tmp_path / "one" / "data")
    assert work.has_trained
    said: list[str] = []
    went_on, whole = trained(tmp_path / "one" / "data", said=said), trained(tmp_path / "other" / "data")
    assert said[0] == f"going on with the unfinished run in {work.path}"
    assert went_on.fingerprint == whole.fingerprint
    assert not work.path.exists()


@pytest.mark.parametrize("change", [{"word": "v"}, {"answer": 1}, {"documents": 59}])
def test_trained_towers_are_not_gone_on_with_when_texts_or_labels_have_changed(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write(tmp_path / "data")
    work = interrupted(tmp_path / "data")
    write(tmp_path / "data", **change)
    with pytest.raises(ResumeMismatch, match=r"other data: the (corpus|labels) changed since it began.*restart=True"):
        trained(tmp_path / "data")
    assert work.has_trained  # nothing was lost by asking
    write(tmp_path / "data")
    assert trained(tmp_path / "data").steps == 12


def test_data_in_another_place_is_the_same_data(tmp_path: Path) -> None:
    write(tmp_path / "data")
    interrupted(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    said: list[str] = []
    trained(tmp_path / "moved", said=said)
    assert said[0].startswith("going on with")


def test_data_mended_before_anything_was_trained_begins_anew_and_knows_nothing_of_the_old(tmp_path: Path) -> None:
    write(tmp_path / "data", word="old")
    work = WorkFolder(tmp_path / "model")
    work.claim("train", TOWERS, CONFIG)
    open_corpus(open_dataset("jsonl", tmp_path / "data", reject=print), work, Reporter()).close()
    write(tmp_path / "data", word="new")
    said: list[str] = []
    trained(tmp_path / "data", said=said)
    assert "nothing was trained there yet, so this run begins anew" in said[1]
    tokens = TextTokenizer.from_file(tmp_path / "model" / "tokenizer.json").tokens()
    assert any(token.startswith("new") for token in tokens)
    assert not any(token.startswith("old") for token in tokens)


def test_a_resumed_run_tells_of_the_same_rejected_records(tmp_path: Path) -> None:
    write(tmp_path / "data", broken=2)
    with (tmp_path / "data" / "documents.jsonl").open("a") as file:  # which the loader takes and the index refuses
        file.write(json.dumps({"id": "n1", "text": "w1 w2", "metadata": {"year": 1}}) + "\n")
        file.write(json.dumps({"id": "n2", "text": "w1 w2", "metadata": {"year": "soon"}}) + "\n")
    first: list[Rejection] = []
    with pytest.raises(Stopped):
        trained(tmp_path / "data", stop=8, rejected=first)
    again: list[Rejection] = []
    trained(tmp_path / "data", rejected=again)
    assert len(first) == 3
    assert sorted(map(str, again)) == sorted(map(str, first))


@pytest.mark.parametrize(
    "wrong", [{"teacher": "no-such-teacher"}, {"loss": "kl", "teacher_scores": "scores.jsonl"}, {"vocabulary": 2}]
)
def test_the_corrected_command_is_taken_after_one_that_failed_early(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write(tmp_path / "data")
    if "teacher_scores" in wrong:
        (tmp_path / "scores.jsonl").write_text('{"query": "none", "document": "none", "score": 1.0}\n')
        wrong = {**wrong, "teacher_scores": str(tmp_path / "scores.jsonl")}
    with pytest.raises(HybridSearchError):
        trained(tmp_path / "data", **wrong)
    assert not (tmp_path / "model.work").exists()
    assert trained(tmp_path / "data").steps == 12


def test_an_empty_file_leaves_nothing_and_the_filled_one_is_learnt(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "documents.jsonl").write_text("")
    with pytest.raises(HybridSearchError):
        trained(tmp_path / "data")
    assert not (tmp_path / "model.work").exists()
    write(tmp_path / "data")
    assert trained(tmp_path / "data").steps == 12


def test_a_folder_of_somebody_else_s_files_is_neither_used_nor_removed(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "model.work").mkdir()
    (tmp_path / "model.work" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds other files; give another `out`"):
        trained(tmp_path / "data")
    assert (tmp_path / "model.work" / "thesis.txt").read_text() == "years of work"


def test_a_run_that_another_process_is_at_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "data")
    work = WorkFolder(tmp_path / "model")
    work.claim("train", TOWERS, CONFIG)
    data = open_dataset("jsonl", tmp_path / "data", reject=print)
    held = open_corpus(data, work, Reporter())
    for changes in ({}, {"seed": 1}):
        with pytest.raises(IndexLocked):
            trained(tmp_path / "data", **changes)
    assert held.count() == 60
    held.close()
