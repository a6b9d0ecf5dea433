"""A run that starts from a trained model: what it takes over, what it refuses, and what it says that it lost."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hybrid_search.cli import cli
from hybrid_search.errors import ConfigError, ModelNotFound, ResumeMismatch, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.models import inspect_model
from hybrid_search.protocols import Dataset, Reporter
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.checkpoint import load_towers
from hybrid_search.towers.model_card import RECORD_FILE, read_model_card, write_model_card
from hybrid_search.towers.shipped import default_model
from hybrid_search.training.forgetting import measure_forgetting
from hybrid_search.training.recipes import RECIPES
from hybrid_search.training.start import KnownQueries, Start, told_of_words
from hybrid_search.training.teacher.vectors import axes_of_towers
from hybrid_search.training.train import TrainRequest, TrainSummary, train
from hybrid_search.types import Document, text_hash

TOPICS = 6
TOWERS = TowerConfig(encoder="gru", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
CONFIG = TrainConfig(
    batch_size=8, max_steps=12, evaluate_every=6, checkpoint_every=4, min_frequency=1, vocabulary=400,
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


def write(folder: Path, *, queries: range, documents: int = 120, seed: int = 0, word: str = "w") -> Path:
    """Write documents of 12 words of one of six topics, and questions of three words of their answer's topic."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)

    def words(topic: int, count: int) -> str:
        return " ".join(f"{word}{topic}x{i}" for i in random.integers(0, 20, count))

    lines = [json.dumps({"id": f"d{i}", "text": words(i % TOPICS, 12)}) for i in range(documents)]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")
    asked = [json.dumps({"id": f"q{i}", "text": f"{words(i % TOPICS, 3)} n{i}"}) for i in queries]
    (folder / "queries.jsonl").write_text("\n".join(asked) + "\n")
    judged = [f"q{i}\td{i % documents}\t1" for i in queries]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged) + "\n")
    return folder


def trained(data: Path, out: Path, *, stop: int | None = None, said: list[str] | None = None, **given: Any) -> (
    TrainSummary
):  # fmt: skip
    request = TrainRequest(**given)
    return train(
        open_dataset("jsonl", data, reject=print), out, request,
        tracker=None if stop is None else StopsAt(stop), say=[].append if said is None else said.append,
    )  # fmt: skip


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set ``data`` of 60 queries, and a model trained on it."""
    folder = tmp_path_factory.mktemp("old")
    trained(write(folder / "data", queries=range(60)), folder / "model", towers=TOWERS, config=CONFIG)
    return folder


@pytest.fixture(scope="module")
def new(old: Path) -> tuple[TrainSummary, list[str]]:
    """A model ``new`` that goes on from there with 60 other queries of ``other``, and what was said."""
    said: list[str] = []
    data = write(old / "other", queries=range(60, 120), seed=1)
    earlier = open_dataset("jsonl", old / "data", reject=print)
    return trained(data, old / "new", said=said, start=old / "model", config=CONFIG, old_data=earlier), said


def test_a_run_starts_where_the_model_is_and_says_what_it_lost(old: Path, new: tuple[TrainSummary, list[str]]) -> None:
    summary, said = new
    before, after = read_model_card(old / "model"), read_model_card(old / "new")
    assert (after.parents, summary.parents) == ((before.fingerprint,), (before.fingerprint,))
    assert (after.tower, after.tokenizer_hash) == (before.tower, before.tokenizer_hash)
    assert after.fingerprint != before.fingerprint
    assert any(text.startswith(f"going on from {old / 'model'}, model {before.fingerprint[:12]}") for text in said)
    figures = summary.old_validation
    assert (figures["queries"], figures["documents"]) == (20, 120)  # a third of 60 were held out
    assert after.old_validation == figures
    told = inspect_model(old / "new")
    assert (told["parents"], told["split"], told["old_validation"]) == ([before.fingerprint], "train", figures)
    assert set(told["validation"]) >= {"bm25", "knn", "hybrid"}
    assert any(f"on the 20 validation queries of {old / 'model'} the towers" in note for note in summary.notes)


def test_without_a_step_the_new_model_is_the_old_one(old: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data", queries=range(60, 120), seed=1)
    config = CONFIG.replace(max_steps=1, learning_rate=1e-12, embedding_learning_rate=0.0)
    summary = trained(
        data, tmp_path / "new", start=old / "model", config=config,
        old_data=lambda: open_dataset("jsonl", old / "data", reject=print),
    )  # fmt: skip
    assert summary.old_validation["before"] == summary.old_validation["after"]
    ours, _, _ = load_towers(tmp_path / "new")
    theirs, _, _ = load_towers(old / "model")
    for name, weight in theirs.state_dict().items():
        assert np.allclose(ours.state_dict()[name], weight, atol=1e-6), name


def test_ancestors_are_a_chain_and_a_lost_data_set_is_said(
    old: Path, new: tuple[TrainSummary, list[str]], tmp_path: Path
) -> None:
    def gone() -> Dataset:
        return open_dataset("jsonl", tmp_path / "nowhere", reject=print)

    third = trained(old / "other", tmp_path / "third", start=old / "new", config=CONFIG, old_data=gone)
    assert third.parents == (new[0].fingerprint, *new[0].parents)
    assert len(third.parents) == 2
    assert "its data can't be read again" in third.old_validation["not_measured"]
    assert "nowhere" in third.old_validation["not_measured"]
    assert read_model_card(tmp_path / "third").old_validation == {}
    start, other = Start.read(old / "new"), open_dataset("jsonl", old / "other", reject=print)
    again = measure_forgetting(start, tmp_path / "third", other, CONFIG, Reporter())
    assert (again.queries, again.documents, again.why_not) == (20, 120, "")
    assert "not given" in measure_forgetting(start, tmp_path / "third", None, CONFIG, Reporter()).why_not


def test_no_query_that_was_trained_on_validates_later_and_none_that_validated_is_trained_on(
    old: Path, tmp_path: Path
) -> None:
    first = Start.read(old / "model").known
    assert (len(first.trained), len(first.held_out)) == (40, 20)
    write(old / "more", queries=range(90))  # the same 60 and 30 more
    trained(old / "more", tmp_path / "new", start=old / "model", config=CONFIG.replace(seed=5))
    known = Start.read(tmp_path / "new").known
    assert first.trained <= known.trained
    assert first.held_out <= known.held_out
    assert not known.trained & known.held_out
    texts = [json.loads(line)["text"] for line in (old / "more" / "queries.jsonl").read_text().splitlines()]
    assert known.trained | known.held_out == set(map(text_hash, texts))


def test_an_interrupted_run_goes_on_to_the_same_weights_and_not_from_another_start(
    old: Path, new: tuple[TrainSummary, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        trained(old / "other", tmp_path / "new", stop=10, start=old / "model", config=CONFIG)
    with pytest.raises(ResumeMismatch, match="other arguments"):
        trained(old / "other", tmp_path / "new", towers=TOWERS, config=CONFIG.replace(residual_share=0.0))
    said: list[str] = []
    went_on = trained(old / "other", tmp_path / "new", said=said, start=old / "model", config=CONFIG)
    assert said[0].startswith("going on with the unfinished run")
    assert went_on.fingerprint == new[0].fingerprint


def test_a_run_with_the_networks_held_that_is_killed_ends_with_the_same_weights(
    old: Path, new: tuple[TrainSummary, list[str]], tmp_path: Path
) -> None:
    config = CONFIG.replace(adapt_steps=12, max_steps=0)
    with pytest.raises(Stopped):
        trained(old / "other", tmp_path / "new", stop=10, start=old / "model", config=config)
    went_on = trained(old / "other", tmp_path / "new", start=old / "model", config=config)
    whole = trained(old / "other", tmp_path / "whole", start=old / "model", config=config)
    assert went_on.fingerprint == whole.fingerprint
    assert (whole.steps, read_model_card(tmp_path / "new").tower.adapted) == (12, True)
    third = trained(old / "data", tmp_path / "third", start=tmp_path / "new", config=CONFIG)  # whole steps after it
    assert read_model_card(tmp_path / "third").tower.adapted
    assert third.steps == 12


def test_words_that_the_vocabulary_lacks_are_told_of(old: Path) -> None:
    tokenizer = Start.read(old / "model").tokenizer
    some = [Document("a", "w0x1 w1x2 щит щит"), Document("b", "w0x1w w2x3 w2x4 w2x5")]
    told = told_of_words(tokenizer, some)
    assert "the model's vocabulary lacks 37.5%: 12.5% are read in pieces, 25.0% not at all; that is much" in told
    assert told_of_words(tokenizer, some[:0]) == "the corpus has no words"
    assert "much" not in told_of_words(tokenizer, [Document("a", "w0x1 w1x2")])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"towers": {"hidden": 9}},
            r"towers\.hidden is 9, and .*, which the run starts from, has 8; leave it out",
        ),
        ({"towers": {"encoder": "lstm"}}, r"towers\.encoder is 'lstm', and .* has 'gru'"),
        ({"training": {"vocabulary": 500}}, r"training\.vocabulary is 500, and a run that starts from a model takes"),
        ({"training": {"word_vectors": {"window": 3}}}, r"training\.word_vectors is \{'window': 3\}"),
        ({"training": {"residual_share": 0.5}}, r"training\.residual_share is 0\.5"),
    ],
)
def test_settings_that_contradict_the_model_are_refused(old: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Start.read(old / "model").settings(RECIPES["scratch"], given)


def test_rates_are_lower_unless_they_are_given_and_lengths_may_change(old: Path) -> None:
    start = Start.read(old / "model")
    given = {"towers": {"max_document_tokens": 300}, "training": {"learning_rate": 0.5, "adapt_steps": 0}}
    settings = start.settings(RECIPES["distil"], {"training": {"teacher": "some.safetensors"}}, given)
    assert settings.towers == start.card.tower.replace(max_document_tokens=300)
    assert settings.training.learning_rate == 0.5
    assert settings.training.embedding_learning_rate == pytest.approx(0.3 * 3e-3)
    assert settings.training.residual_share == 0


def test_other_towers_and_the_model_s_own_place_are_refused(old: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"towers\.dimension is 32, and "):
        trained(old / "data", tmp_path / "new", start=old / "model", towers=TOWERS.replace(dimension=32))
    with pytest.raises(UsageError, match="is the model to start from; give another `out`"):
        trained(old / "data", old / "model", start=old / "model", restart=True)
    with pytest.raises(ModelNotFound):
        trained(old / "data", tmp_path / "new", start=tmp_path / "nowhere")
    assert not (tmp_path / "new.work").exists()


def test_a_model_of_an_earlier_version_is_started_from(old: Path, tmp_path: Path) -> None:
    model = tmp_path / "earlier"
    model.mkdir()
    for path in (old / "model").iterdir():
        if path.name != RECORD_FILE:
            (model / path.name).write_bytes(path.read_bytes())
    card = read_model_card(old / "model")
    write_model_card(model, card.replace(files={n: h for n, h in card.files.items() if n != RECORD_FILE}))
    start = Start.read(model)
    assert (start.card.fingerprint, start.known, start.axes) == (card.fingerprint, KnownQueries(), None)
    assert "none are noted in it" in measure_forgetting(start, old / "model", None, CONFIG, Reporter()).why_not


def test_a_teacher_s_axes_stay_those_of_the_model_and_another_s_are_turned_to_its_vectors(
    old: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 24)).astype(np.float32)
    axes = np.linalg.qr(random.normal(size=(24, 16)))[0].astype(np.float32)
    turned = np.linalg.qr(random.normal(size=(16, 16)))[0].astype(np.float32)
    texts = [str(row) for row in range(400)]

    def encode(asked: Any) -> Any:  # towers that give the teacher's vectors, turned
        return vectors[[int(text) for text in asked]] @ axes @ turned

    found = axes_of_towers(None, encode)(axes, texts, vectors)
    assert np.allclose(found, axes @ turned, atol=0.02)
    assert np.allclose(found.T @ found, np.eye(16), atol=1e-4)
    own = random.normal(size=(24, 16)).astype(np.float32)
    assert axes_of_towers(own, encode)(axes, texts, vectors) is own
    assert axes_of_towers(own[:9], encode)(axes, texts, vectors).shape == (24, 16)


def test_without_a_word_train_goes_on_from_the_model_of_the_package_and_keeps_its_weights(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    texts = [f"The {noun} is kept in a glass box by the window, where all of us may see how it lives, eats and sleeps."
             for noun in ("newt", "toad", "crab", "mole")]  # fmt: skip
    lines = [json.dumps({"id": text.split()[1], "text": text}) for text in texts]
    (data / "documents.jsonl").write_text("\n".join(lines) + "\n")
    line = ["train", "jsonl", "--path", str(data), "--out", str(tmp_path / "model"), "--max-steps", "3"]
    ran = CliRunner().invoke(cli, [*line, "--format", "json"])
    assert ran.exit_code == 0, ran.output
    model, card = default_model(), read_model_card(tmp_path / "model")
    assert model is not None
    parent = read_model_card(model)
    assert (card.parents, card.defaults) == ((parent.fingerprint,), parent.defaults)
    assert card.tower == parent.tower.replace(adapted=True)
    assert "no judged queries were held out to validate on, so the weights" in ran.output
    ours, _, _ = load_towers(tmp_path / "model")
    assert torch.count_nonzero(ours.document_tower.shift.weight)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--set", "towers.encoder=gru"), "towers.encoder is 'gru', and .* has 'rec'"),
        (("--set", "training.vocabulary=500"), "training.vocabulary is 500"),
        (("--set", "training.epochs=3"), "the settings are of steps that train all of the towers"),
    ],
)
def test_settings_that_the_model_of_the_package_can_t_follow_mean_new_towers(
    asked: tuple[str, str], why: str, tmp_path: Path
) -> None:
    ran = CliRunner().invoke(cli, ["train", "jsonl", "--path", str(tmp_path), "--out", str(tmp_path / "m"), *asked])
    assert re.search(f"new towers, not those of en: {why}", ran.output), ran.output
