"""The whole way from a data set to a checkpoint with a teacher's vectors from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.models import _parameters, inspect_model
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import default_model
from hybrid_search.training.recipes import RECIPES
from hybrid_search.training.start import Start
from hybrid_search.training.teacher.vector_store import write_vectors
from hybrid_search.training.train import TrainRequest, train

TOPICS, EACH = 8, 15
WORDS = [f"word{i:03d}" for i in range(TOPICS * 30)]
TOWERS = TowerConfig(dimension=16, embedding_dimension=16, hidden=8)


def topic_of(text: str) -> int:
    return int(text.split()[0][4:]) // 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS[30 * t : 30 * t + 30], 12)) for t in range(TOPICS) for _ in range(EACH)]
    lines = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (tmp_path / "documents.jsonl").write_text("\n".join(lines))
    known = [*texts, *WORDS]
    vectors = np.eye(TOPICS)[[topic_of(text) for text in known]] + generator.normal(size=(len(known), TOPICS)) * 0.05
    write_vectors(tmp_path / "teacher.safetensors", known, vectors.astype(np.float32))
    return tmp_path


def config(folder: Path, **changes: object) -> TrainConfig:
    return TrainConfig(
        loss="align",
        teacher=str(folder / "teacher.safetensors"),
        word_vectors=WordVectorConfig(algorithm="teacher"),
        max_steps=20,
        min_frequency=1,
        vocabulary=400,
    ).replace(**changes)


@pytest.mark.parametrize("encoder", ["gru", "rec"])
def test_documents_alone_are_enough_with_a_teacher(folder: Path, encoder: str) -> None:
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    towers = TOWERS.replace(encoder=encoder, query_hidden=4)
    summary = train(data, folder / "model", TrainRequest(towers=towers, config=config(folder)))
    assert (summary.steps, summary.validation) == (20, {})
    told = inspect_model(folder / "model")
    assert 0.9 < told["cosine_to_shuffled"]["documents"] <= 1
    counted = _parameters(folder / "model")  # of the files, as where training did not tell
    assert counted == {name: told["parameters"][name] for name in ("all", "word_vectors")}
    assert 0 < told["training_seconds"] < 600
    encoder = OnnxEncoder.load(folder / "model")
    vectors = encoder.encode_documents([f"{WORDS[30 * t + 3]} {WORDS[30 * t + 9]}" for t in range(TOPICS)])
    same = vectors @ encoder.encode_queries([WORDS[30 * t + 5] for t in range(TOPICS)]).T
    assert same.argmax(axis=1).tolist() == list(range(TOPICS))


def test_word_vectors_of_another_length_than_the_towers_are_refused(folder: Path) -> None:
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    towers = TOWERS.replace(embedding_dimension=8)
    with pytest.raises(ConfigError, match="with a teacher it must be the dimension, 16"):
        train(data, folder / "model", TrainRequest(towers=towers, config=config(folder)))


def test_a_file_without_words_is_enough_where_word_vectors_are_learnt_from_the_documents(folder: Path) -> None:
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    texts = [document.searchable_text for document in data.documents()]
    write_vectors(folder / "texts.safetensors", texts, np.eye(len(texts), TOPICS * 4, dtype=np.float32) + 0.1)
    learnt = config(
        folder, teacher=str(folder / "texts.safetensors"), word_vectors=WordVectorConfig(algorithm="cbow", epochs=1)
    )
    assert train(data, folder / "model", TrainRequest(towers=TOWERS, config=learnt)).steps == 20


@pytest.mark.parametrize("what", ["teacher", "queries_file"])
def test_a_file_that_is_not_there_is_told_before_any_work(folder: Path, what: str) -> None:
    missing = folder / "nowhere.safetensors"
    teacher = config(folder, teacher=str(missing)) if what == "teacher" else config(folder)
    request = TrainRequest(towers=TOWERS, config=teacher, queries_file=missing if what == "queries_file" else None)
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    with pytest.raises(UsageError, match=r"nowhere\.safetensors: there is no such file"):
        train(data, folder / "model", request)
    assert not (folder / "model.work").exists()


def test_the_model_of_the_package_learns_a_teacher_s_vectors(folder: Path) -> None:
    """Its word vectors are longer than its text vectors; only word vectors of the teacher's must not be."""
    model = default_model()
    assert model is not None
    write_vectors(folder / "teacher.safetensors", *wide(folder))
    data = open_dataset("jsonl", folder, reject=lambda rejection: None)
    texts = [document.searchable_text for document in data.documents()]
    settings = Start.read(model).settings(
        RECIPES["distil"], {"training": {"teacher": str(folder / "teacher.safetensors"), "max_steps": 30}}
    )
    request = TrainRequest(start=str(model), towers=settings.towers, config=settings.training)
    assert train(data, folder / "model", request).steps == 30
    before, after = (spread(OnnxEncoder.load(one), texts) for one in (model, folder / "model"))
    assert after > before + 0.05, "texts of one topic are nearer to one another, and farther from the others"


def wide(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """The same texts with vectors of 384 numbers, as a real teacher has, and more than the towers have."""
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(384, TOPICS)))[0].T
    known = [json.loads(line)["text"] for line in (folder / "documents.jsonl").read_text().splitlines()] + WORDS
    return known, (np.eye(TOPICS)[[topic_of(text) for text in known]] @ turned).astype(np.float32)


def spread(encoder: OnnxEncoder, texts: list[str]) -> float:
    """Mean cosine within a topic less that between topics."""
    vectors = encoder.encode_documents(texts)
    topics = np.array([topic_of(text) for text in texts])
    cosines, same = vectors @ vectors.T, topics[:, None] == topics
    return float(cosines[same].mean() - cosines[~same].mean())
