"""Towers cut to the first numbers of their vectors: the same numbers, in torch, in ONNX and for ml-commons."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_towers import TEXTS, assert_near, small_config, small_towers

from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.towers.model_card import read_model_card
from hybrid_search.towers.onnx_encoder import OnnxEncoder
from hybrid_search.towers.packed import pack_tower
from hybrid_search.towers.packed_check import check_packed, sample_texts
from hybrid_search.towers.shortening import shortened
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.towers.untrained import UntrainedEncoder
from hybrid_search.workflows.shortening import shorten

IDS = torch.tensor([[2, 3, 4, 9], [7, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("sharing", ["tied", "shared_embeddings", "separate"])
@pytest.mark.parametrize("residual", [False, True])
def test_their_vectors_are_the_first_numbers_of_the_long_ones(sharing: str, residual: bool) -> None:
    towers = small_towers(small_config(towers=sharing, residual=residual, similarity="dot", head_layers=2))
    short = shortened(towers, 3)
    assert_near(short.encode_queries(IDS), towers.encode_queries(IDS)[:, :3])
    assert_near(short.encode_documents(IDS), towers.encode_documents(IDS)[:, :3])
    assert not short.training


def test_with_cosine_they_have_unit_length_again() -> None:
    towers = small_towers(small_config())
    first = towers.encode_queries(IDS)[:2, :3]
    assert_near(shortened(towers, 3).encode_queries(IDS)[:2], first / first.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("dimension", [0, 8, 9])
def test_a_dimension_that_is_not_shorter_is_refused(dimension: int) -> None:
    with pytest.raises(ConfigError, match=f"dimension is {dimension}; it must be from 1 to below the model's, 8"):
        shortened(small_towers(small_config()), dimension)


def test_towers_without_a_layer_to_cut_are_refused() -> None:
    towers = small_towers(small_config(head_layers=0, residual=False, dimension=12))
    with pytest.raises(ConfigError, match="head_layers is 0"):
        shortened(towers, 4)


def test_a_short_checkpoint_is_a_model_of_its_own_that_every_runtime_encodes_alike(
    checkpoint: Path, tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    before = OnnxEncoder.load(checkpoint)
    told = shorten(checkpoint, tmp_path / "short", 4)
    after = OnnxEncoder.load(tmp_path / "short")
    assert (told["dimension"], told["before"], after.dimension) == (4, 8, 4)
    assert told["fingerprint"] == after.fingerprint != before.fingerprint
    assert "not trained to be cut to 4 (--matryoshka: none)" in told["notes"][0]
    first = before.encode_documents(TEXTS)[:, :4]
    wanted = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(after.encode_documents(TEXTS), wanted, atol=1e-5)
    assert check_packed(pack_tower(tmp_path / "short", "query"), after, sample_texts(tokenizer)) > 0.9999


def test_it_keeps_the_baseline_and_the_fitted_defaults(checkpoint: Path, tmp_path: Path) -> None:
    shorten(checkpoint, tmp_path / "short", 4)
    assert read_model_card(tmp_path / "short").defaults == read_model_card(checkpoint).defaults
    untrained = [UntrainedEncoder.load(folder).encode_queries(TEXTS) for folder in (checkpoint, tmp_path / "short")]
    assert np.array_equal(*untrained)


def test_nothing_that_is_there_is_written_over(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "model")
    with pytest.raises(UsageError, match="holds a finished model"):
        shorten(checkpoint, tmp_path / "model", 4)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(todo\.txt\)"):
        shorten(checkpoint, tmp_path / "notes", 4)
