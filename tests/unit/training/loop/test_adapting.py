"""Steps with the networks held: what they change and what they leave, and that what was computed once is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from hybrid_search.errors import ConfigError, TrainingError
from hybrid_search.protocols import silent
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.data.alignment import Alignment
from hybrid_search.training.data.arrays import Corpus, Tokens, TrainingData, build_training_data
from hybrid_search.training.loop.adapting import adapt_towers
from hybrid_search.training.loop.loop import train_towers
from hybrid_search.training.loop.validation import validate
from hybrid_search.types import Document

REC = TowerConfig(
    encoder="rec", hidden=6, query_hidden=4, bidirectional_queries=False, dimension=12, embedding_dimension=16,
    residual=False, pooling="idf", adapted=True, max_query_tokens=8, max_document_tokens=24,
)  # fmt: skip
STATIC_PATH = synthetic.TOWERS.replace(adapted=True)
CONFIG = TrainConfig(
    adapt_steps=40, learning_rate=5e-3, embedding_learning_rate=3e-2, evaluate_every=20, patience=0, threads=1
)


class Silent:
    def log(self, step: int, values: Any) -> None:
        pass

    def close(self) -> None:
        pass


def adapted(work: Path, shape: TowerConfig, data: TrainingData | None = None, **changes: Any) -> Any:
    towers = synthetic.towers(shape)
    report = train_towers(
        towers, data or synthetic.training_data(), CONFIG.replace(**changes), work=work, tracker=Silent()
    )
    return towers, report


@pytest.mark.parametrize("shape", [REC, STATIC_PATH], ids=["rec", "gru beside a static path"])
def test_words_that_never_meet_are_brought_together_and_the_networks_stay_as_they_are(
    tmp_path: Path, shape: TowerConfig
) -> None:
    towers, report = adapted(tmp_path, shape)
    assert report.untrained_measure < 0.3
    assert report.best_measure > 0.7
    assert report.steps == 40
    # Every text was read once; towers that read it now must rank alike.
    assert validate(towers, synthetic.training_data().validation) == pytest.approx(report.best_measure, abs=1e-9)
    before = synthetic.towers(shape).state_dict()
    moved = {name for name, weight in towers.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved
    assert all("shift" in name or "head" in name or "projection" in name for name in moved)


def test_a_shift_of_nothing_changes_no_vector_and_both_towers_share_it() -> None:
    towers = synthetic.towers(REC).eval()
    plain = TwoTower(REC.replace(adapted=False), towers.vocabulary_size).eval()
    plain.load_state_dict({name: weight for name, weight in towers.state_dict().items() if "shift" not in name})
    ids = torch.tensor([[9, 12, 3, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    assert torch.equal(towers.encode_documents(ids), plain.encode_documents(ids))
    assert towers.query_tower.shift is towers.document_tower.shift
    assert len(towers.embedding_parameters()) == 2


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    one, other, third = (adapted(tmp_path, REC, seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def without_labels(texts: int) -> TrainingData:
    documents = [Document(f"d{n}", one.positive.text) for n, one in enumerate(synthetic.examples(texts, 2))]
    tokens = Tokens(synthetic.encode, synthetic.encode)
    return build_training_data([], tokens, Corpus(lambda ids: [], documents), positives={}, negatives={})


def test_documents_alone_are_enough_and_fewer_than_two_are_not(tmp_path: Path) -> None:
    towers, report = adapted(tmp_path, REC, without_labels(60))
    assert (report.steps, report.best_step) == (40, 40)
    assert torch.count_nonzero(towers.document_tower.shift.weight)
    with pytest.raises(TrainingError, match="there are no labelled queries"):
        adapted(tmp_path, REC, without_labels(1))


def test_of_documents_alone_a_share_of_what_changed_is_kept_and_of_labels_all(tmp_path: Path) -> None:
    before = synthetic.towers(REC).state_dict()
    for data, kept in ((without_labels(60), 0.25), (None, 1.0)):
        whole, some = (adapted(tmp_path, REC, data, adapt_share=share)[0].state_dict() for share in (1.0, 0.25))
        moved = [name for name, weight in whole.items() if not torch.equal(weight, before[name])]
        assert moved
        for name in moved:
            torch.testing.assert_close(some[name] - before[name], kept * (whole[name] - before[name]))


def test_a_teacher_s_vectors_are_learnt_and_one_side_alone_will_do(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    texts = synthetic.encode([one.positive.text for one in synthetic.examples(40, 3)])
    targets = draw.normal(size=(len(texts), 12)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    data = without_labels(10)
    object.__setattr__(data, "alignment", Alignment.of([(texts, targets, 1.0, False)]))
    towers, _ = adapted(tmp_path, REC, data, loss="align", teacher="t.safetensors", adapt_steps=80)
    with torch.no_grad():
        found = torch.cat([towers.encode_documents(torch.from_numpy(text.astype(np.int64))[None]) for text in texts])
    assert float((found * torch.from_numpy(targets)).sum(1).mean()) > 0.8


def test_settings_that_nothing_can_be_done_with_are_refused() -> None:
    with pytest.raises(ConfigError, match="adapted is True; it must be no"):
        TowerConfig(encoder="gru", residual=False, adapted=True)
    with pytest.raises(ConfigError, match="adapt_steps is 5; it must be 0 with loss 'triplet'"):
        TrainConfig(loss="triplet", hard_negatives=1, adapt_steps=5)
    with pytest.raises(TrainingError, match="no shift to train"):
        adapt_towers(
            synthetic.towers(REC.replace(adapted=False)), synthetic.training_data(), CONFIG,
            tracker=Silent(), progress=silent,
        )  # fmt: skip
