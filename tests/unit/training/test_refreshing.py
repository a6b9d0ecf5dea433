"""Rounds after the first: what they are trained with, which is kept, and that a run goes on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_search.errors import ConfigError, TrainingError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.model_card import ServingDefaults, read_model_card
from hybrid_search.training import run as training_run
from hybrid_search.training.fit.defaults import FitReport
from hybrid_search.training.loop.loop import TrainReport
from hybrid_search.training.rounds import best_of, check_refresh, settings_of_round
from hybrid_search.training.run import Round
from hybrid_search.training.teacher.vector_store import write_vectors
from hybrid_search.training.train import TrainRequest, TrainSummary, train
from hybrid_search.types import Document, Example, Query

TOWERS = TowerConfig(encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
CONFIG = TrainConfig(
    batch_size=8, max_steps=6, evaluate_every=2, checkpoint_every=2, min_frequency=1, vocabulary=300, refresh=2,
    validation_share=0.2, rank_window=(2, 20), word_vectors=WordVectorConfig(algorithm="random"),
)  # fmt: skip
TOPICS = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 documents on ten topics; a query has two words of its document's topic, none of its document."""
    random = np.random.default_rng(0)
    words = [[f"w{topic}x{i}" for i in range(12)] for topic in range(TOPICS)]
    documents = [" ".join(random.choice(words[i % TOPICS], 6)) for i in range(120)]
    (tmp_path / "documents.jsonl").write_text(
        "\n".join(json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(documents))
    )
    queries = [{"id": f"q{i}", "text": " ".join(random.choice(words[i % TOPICS], 3))} for i in range(60)]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(60))]
    (tmp_path / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    texts = [*documents, *(query["text"] for query in queries), *(word for topic in words for word in topic)]
    topics = [int(text.split()[0].split("x")[0][1:]) for text in texts]
    write_vectors(tmp_path / "teacher.safetensors", texts, np.eye(TOPICS)[topics].astype(np.float32))
    return tmp_path


def trained(folder: Path, out: str, config: TrainConfig = CONFIG, say=lambda text: None) -> TrainSummary:
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    return train(data, folder / out, TrainRequest(towers=TOWERS, config=config), say=say)


def test_each_round_is_shown_and_the_best_is_kept(folder: Path) -> None:
    said: list[str] = []
    summary = trained(folder, "model", say=said.append)
    rounds = [line for line in said if line.startswith("round ") and "validation nDCG@10 towers" in line]
    assert len(rounds) == len(summary.rounds) >= 2
    assert "negatives mined again" in rounds[1]
    kept = [each for each in summary.rounds if each["kept"]]
    assert len(kept) == 1
    assert kept[0]["hybrid"] == summary.validation["hybrid"] == max(each["hybrid"] for each in summary.rounds)
    assert not (folder / "model.work").exists()


def test_an_interrupted_round_goes_on_and_ends_with_the_same_model(folder: Path, monkeypatch) -> None:
    whole = trained(folder, "whole")
    train_towers = training_run.train_towers

    def stopped(towers, data, config, *, work, tracker, progress):
        if work.name == "round-1":
            report = train_towers(towers, data, config.replace(max_steps=4), work=work, tracker=tracker)
            (work / "state.safetensors").unlink()
            raise KeyboardInterrupt(report)
        return train_towers(towers, data, config, work=work, tracker=tracker, progress=progress)

    monkeypatch.setattr(training_run, "train_towers", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(folder, "stopped")
    assert (folder / "stopped.work" / "round-1" / "negatives-knn.jsonl").exists()
    monkeypatch.undo()
    assert trained(folder, "stopped").fingerprint == whole.fingerprint
    assert read_model_card(folder / "stopped").fingerprint == whole.fingerprint


def test_after_aligning_to_a_teacher_rounds_contrast_and_the_teacher_judges(folder: Path) -> None:
    said: list[str] = []
    config = CONFIG.replace(
        loss="align", teacher=str(folder / "teacher.safetensors"), refresh=1, self_supervised=0.0,
        word_vectors=WordVectorConfig(algorithm="teacher"),
    )  # fmt: skip
    summary = trained(folder, "model", config, said.append)
    # Documents of a query's topic are all alike to this teacher, and none of them may be a negative.
    assert summary.rounds[1]["dropped"]["teacher_takes_for_positive"] > 100
    assert summary.rounds[1]["negatives"] > 0


@pytest.mark.parametrize("loss", ["margin_mse", "kl"])
def test_after_aligning_rounds_can_follow_the_teachers_scores_of_what_was_mined(folder: Path, loss) -> None:
    config = CONFIG.replace(
        loss="align", teacher=str(folder / "teacher.safetensors"), refresh=1, refresh_loss=loss, self_supervised=0.0,
        word_vectors=WordVectorConfig(algorithm="teacher"),
    )  # fmt: skip
    summary = trained(folder, "model", config)
    # Nothing is a false negative where a teacher scores it.
    assert not {"teacher_takes_for_positive", "scores_like_positive"} & summary.rounds[1]["dropped"].keys()
    assert summary.rounds[1]["steps"] == 6


def test_a_round_that_follows_scores_takes_several_documents_from_the_first_rank_on() -> None:
    aligned = TrainConfig(loss="align", teacher="x", refresh=1, refresh_loss="kl", rank_window=(5, 60))
    later = settings_of_round(aligned, 1)
    assert (later.loss, later.rank_window, later.hard_negatives) == ("kl", (1, 60), 4)


@pytest.mark.parametrize("given", [{"loss": "infonce", "refresh": 1}, {"loss": "align", "teacher": "x"}])
def test_a_loss_for_rounds_is_refused_without_a_teacher_or_without_rounds(given) -> None:
    with pytest.raises(ConfigError, match=r"refresh_loss is 'kl'.*recipe distil.*and refresh"):
        TrainConfig(refresh_loss="kl", **given)


def test_a_round_mixes_what_it_mined_with_what_the_run_had() -> None:
    first = TrainConfig(negatives=((0.0, {"random": 1.0}), (0.3, {"bm25": 3.0, "in_row": 1.0})))
    later = settings_of_round(first, 2)
    assert later.negatives == ((0.0, {"dense": 0.5, "bm25": 0.375, "in_row": 0.125}),)
    assert (later.learning_rate, later.residual_share) == (pytest.approx(0.3 * first.learning_rate), 0.0)
    assert later.seed != settings_of_round(first, 1).seed != first.seed


def test_dense_negatives_from_a_file_give_way_to_those_mined_again() -> None:
    later = settings_of_round(TrainConfig(negatives=((0.0, {"dense": 1.0}),), hard_negatives=0), 1)
    assert (later.negatives, later.hard_negatives) == (((0.0, {"dense": 1.0}),), 1)


def test_after_align_a_round_contrasts_with_the_settings_for_it() -> None:
    aligned = TrainConfig(loss="align", teacher="x", batch_size=128, epochs=6, max_steps=3_000, learning_rate=8e-3)
    later = settings_of_round(aligned, 1)
    assert (later.loss, later.teacher, later.batch_size, later.epochs) == ("infonce", "", 32, 0)
    assert later.learning_rate == pytest.approx(0.3 * TrainConfig().learning_rate)


def reached(number: int, hybrid: float, towers: float) -> Round:
    report = TrainReport(1, towers, 0.0, (), 1, 1.0, "finished")
    validation = {"queries": 10, "bm25": 0.1, "knn": towers, "hybrid": hybrid}
    return Round(number, Path(), report, FitReport(ServingDefaults(), validation, []))


def test_the_best_hybrid_is_kept_then_the_best_towers_then_the_earliest() -> None:
    assert best_of([reached(0, 0.4, 0.3), reached(1, 0.5, 0.1), reached(2, 0.45, 0.4)]).number == 1
    assert best_of([reached(0, 0.5, 0.3), reached(1, 0.5, 0.4)]).number == 1
    assert best_of([reached(0, 0.5, 0.3), reached(1, 0.5, 0.3)]).number == 0


def test_without_validation_the_last_round_is_kept() -> None:
    unknown = [replace(reached(n, 0, 0), fit=FitReport(ServingDefaults(), {}, [])) for n in (0, 1)]
    assert best_of(unknown).number == 1


def test_losses_whose_negatives_a_teacher_scored_are_refused() -> None:
    example = Example(Query("q", "a"), Document("d", "b"))
    with pytest.raises(ConfigError, match="refresh is 1 with loss 'margin_mse'"):
        check_refresh(TrainConfig(refresh=1, loss="margin_mse", teacher_scores="scores.tsv"), [example])
    with pytest.raises(TrainingError, match="mines negatives for labelled queries"):
        check_refresh(TrainConfig(refresh=1), [])
    check_refresh(TrainConfig(), [])
