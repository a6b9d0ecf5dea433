"""The whole way from a data set to a checkpoint without labels, and with a hundred."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_search.errors import TrainingError, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.train import TrainRequest, TrainSummary, train

TOPICS = 6
TOWERS = TowerConfig(encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
CONFIG = TrainConfig(
    batch_size=8, max_steps=40, evaluate_every=10, checkpoint_every=20, min_frequency=1, vocabulary=300,
    word_vectors=WordVectorConfig(algorithm="random"),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """150 documents of 20 words of one of six topics."""
    random = np.random.default_rng(0)
    lines = [{"id": f"d{i}", "text": " ".join(words(random, i % TOPICS, 20))} for i in range(150)]
    (tmp_path / "documents.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def words(random: np.random.Generator, topic: int, count: int) -> list[str]:
    return [f"w{topic}x{i}" for i in random.integers(0, 20, count)]


def label(folder: Path, split: str, count: int) -> None:
    random = np.random.default_rng(1)
    lines = [json.dumps({"id": f"q{i}", "text": " ".join(words(random, i % TOPICS, 3))}) for i in range(count)]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    (folder / "qrels").mkdir()
    judged = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(count))]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(judged) + "\n")


def trained(folder: Path, said: list[str] | None = None, *, split: str = "train", **changes: object) -> TrainSummary:
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    request = TrainRequest(towers=TOWERS, config=CONFIG.replace(**changes), split=split)
    return train(data, folder / "model", request, say=[].append if said is None else said.append)


def test_documents_alone_teach_which_words_belong_together(folder: Path) -> None:
    said: list[str] = []
    summary = trained(folder, said, max_steps=150, embedding_learning_rate=0.02)
    assert "no labelled queries: learning from examples made out of the documents alone" in said
    assert (summary.steps, summary.examples, summary.validation) == (150, {}, {})
    encoder = OnnxEncoder.load(folder / "model")
    queries = encoder.encode_queries([f"w{topic}x{i}" for i in range(5, 20) for topic in range(TOPICS)])
    documents = encoder.encode_documents([f"w{topic}x2 w{topic}x3 w{topic}x4" for topic in range(TOPICS)])
    right = (queries @ documents.T).argmax(axis=1) == np.tile(np.arange(TOPICS), 15)
    assert right.mean() > 0.6  # no word in common; by chance 1 / 6


def test_without_queries_to_tell_bm25_keeps_most_of_the_weight(folder: Path) -> None:
    summary = trained(folder)
    assert summary.defaults["fusion"]["weights"] == (0.7, 0.3)
    assert "it is not known whether the towers help" in summary.notes[0]


def test_a_split_of_a_data_set_without_queries_is_refused_but_for_the_default(folder: Path) -> None:
    with pytest.raises(UsageError, match="has no split 'nope' with queries; there are: none; none learns from the"):
        trained(folder, split="nope")


def test_a_data_set_with_queries_for_testing_only_is_learnt_without_them(folder: Path) -> None:
    label(folder, "test", 30)
    with pytest.raises(UsageError, match="has no split 'train' with queries; there are: test; none learns from the"):
        trained(folder)
    assert trained(folder, split="none").examples == {}


def test_a_hundred_labels_are_learnt_from_and_some_of_them_validate(folder: Path) -> None:
    label(folder, "train", 100)
    said: list[str] = []
    summary = trained(folder, said)
    assert summary.examples["queries"] == 100
    assert 30 <= summary.validation["queries"] <= 40  # a third, for there are fewer than 450
    assert any("examples 100" in line and "held out for validation" in line for line in said)
    assert any("validation queries" in note or "weight" in note for note in summary.notes)


def test_a_handful_of_labels_does_not_decide_the_weight(folder: Path) -> None:
    label(folder, "train", 12)
    summary = trained(folder, max_steps=4)
    assert summary.defaults["fusion"]["weights"] == (0.7, 0.3)
    assert "only 4 judged queries were held out to validate on" in summary.notes[0]


def test_labels_that_were_declined_are_not_said_to_be_missing(folder: Path) -> None:
    label(folder, "train", 30)
    said: list[str] = []
    trained(folder, said, split="none", max_steps=4)
    assert "no labelled queries in split 'none': learning from examples made out of the documents alone" in said


@pytest.mark.parametrize(
    ("changes", "lowest", "highest"),
    [
        ({"validation_least": 20}, 17, 24),  # 20 of 100; groups of one answer stay together
        ({"validation_share": 0.4}, 34, 48),  # a larger share than a third is what was asked for
        ({"validation_least": 0}, 8, 12),  # the share alone, a tenth
        ({"validation_share": 0.0}, 0, 0),
    ],
)
def test_how_many_labels_validate_is_a_share_of_them_and_at_least_a_number(
    folder: Path, changes: dict[str, object], lowest: int, highest: int
) -> None:
    label(folder, "train", 100)
    assert lowest <= trained(folder, max_steps=4, **changes).validation.get("queries", 0) <= highest


@pytest.mark.parametrize("changes", [{"loss": "triplet"}, {"loss": "contrastive"}])
def test_documents_alone_are_enough_for_every_loss_on_pairs(folder: Path, changes: dict[str, object]) -> None:
    assert trained(folder, max_steps=4, **changes).steps == 4


def test_an_epoch_without_labels_is_a_pass_over_the_documents(folder: Path) -> None:
    # Twice 150 documents, 8 * (1 + 4) of them a step: 7.5 steps.
    assert trained(folder, epochs=2, max_steps=0).steps == 8


def test_without_labels_and_without_made_examples_there_is_nothing_to_learn(folder: Path) -> None:
    with pytest.raises(TrainingError, match="nothing for loss 'infonce' with self_supervised 0"):
        trained(folder, self_supervised=0.0)


def test_documents_too_short_to_make_examples_of_are_refused(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text("\n".join(json.dumps({"id": str(i), "text": "short"}) for i in range(9)))
    with pytest.raises(TrainingError, match="0 documents of 16 tokens or more to make examples of"):
        trained(tmp_path)
