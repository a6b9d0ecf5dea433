"""The zip for ml-commons: what is in it, and that it gives the checkpoint's vectors or is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_towers import small_config, small_towers
from tokenizers import Tokenizer

from hybrid_search.errors import CorruptModel, ModelError, ModelMismatch
from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.packed import (
    PackedTower,
    TowerName,
    check_packed,
    check_vectors,
    pack_tower,
    sample_texts,
)
from hybrid_search.towers.onnx.runtime import open_session
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.towers.word_vectors import WordVectors

TOWERS: tuple[TowerName, ...] = ("query", "document")


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> OnnxEncoder:
    return OnnxEncoder.load(checkpoint, threads=1)


@pytest.fixture(scope="module")
def packed(checkpoint: Path) -> dict[TowerName, PackedTower]:
    return {name: pack_tower(checkpoint, name) for name in TOWERS}


def test_the_zip_holds_the_tokenizer_and_one_onnx_file_that_needs_no_other(
    packed: dict[TowerName, PackedTower],
) -> None:
    tower = packed["query"]
    with zipfile.ZipFile(io.BytesIO(tower.archive)) as archive:
        assert archive.namelist() == ["query.onnx", "tokenizer.json"]
        session = open_session(archive.read("query.onnx"))
        assert archive.read("tokenizer.json").decode() == tower.tokenizer
    assert [put.name for put in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert tower.sha256 == hashlib.sha256(tower.archive).hexdigest()
    assert (tower.dimension, tower.max_tokens) == (8, 32)
    assert packed["document"].max_tokens == 160


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, packed: dict[TowerName, PackedTower]) -> None:
    assert pack_tower(checkpoint, "query").sha256 == packed["query"].sha256
    assert packed["query"].sha256 != packed["document"].sha256


def test_its_tokenizer_cuts_long_texts_and_leaves_none_without_a_token(packed: dict[TowerName, PackedTower]) -> None:
    tokenizer = Tokenizer.from_str(packed["query"].tokenizer)
    assert tokenizer.encode("").ids == [0]
    assert tokenizer.encode("?!").ids == [0]
    assert len(tokenizer.encode("cat " * 100).ids) == 33
    assert tokenizer.encode("cat " * 100).ids[-1] == 0


def test_the_sample_has_200_texts_odd_ones_among_them_and_is_always_the_same(tokenizer: TextTokenizer) -> None:
    texts = sample_texts(tokenizer)
    assert len(texts) == 200
    assert texts == sample_texts(tokenizer)
    assert {"", "🦀🔥", "x" * 150, "日本語のテキスト 한국어 中文"} <= set(texts)


@pytest.mark.parametrize("name", TOWERS)
def test_a_packed_tower_gives_the_checkpoints_vectors(
    name: TowerName, packed: dict[TowerName, PackedTower], encoder: OnnxEncoder, tokenizer: TextTokenizer
) -> None:
    assert check_packed(packed[name], encoder, sample_texts(tokenizer)) > 0.999999


def test_so_does_one_whose_vectors_have_any_length(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(similarity="dot", towers="tied", encoder="mean"), tokenizer.vocabulary_size)
    made = {"untrained": word_vectors, "training": {}, "defaults": ServingDefaults()}
    save_checkpoint(tmp_path / "dot", towers, tokenizer, **made)
    encoder = OnnxEncoder.load(tmp_path / "dot", threads=1)
    assert check_packed(pack_tower(tmp_path / "dot", "query"), encoder, sample_texts(tokenizer)) > 0.999999


@pytest.mark.parametrize("name", TOWERS)
def test_so_do_towers_that_read_in_different_directions(
    name: TowerName, tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(bidirectional_queries=False), tokenizer.vocabulary_size)
    made = {"untrained": word_vectors, "training": {}, "defaults": ServingDefaults()}
    save_checkpoint(tmp_path / "m", towers, tokenizer, **made)
    encoder = OnnxEncoder.load(tmp_path / "m", threads=1)
    assert check_packed(pack_tower(tmp_path / "m", name), encoder, sample_texts(tokenizer)) > 0.999999


def test_another_tower_or_another_tokenizer_is_refused(
    packed: dict[TowerName, PackedTower], encoder: OnnxEncoder, tokenizer: TextTokenizer
) -> None:
    texts = sample_texts(tokenizer)
    strange = dataclasses.replace(packed["query"], onnx=packed["document"].onnx)
    with pytest.raises(ModelError, match="the packed query tower gives another vector than the checkpoint for"):
        check_packed(strange, encoder, texts)
    lower = json.loads(packed["query"].tokenizer)
    lower["normalizer"] = None
    with pytest.raises(ModelError, match="another vector"):
        check_packed(dataclasses.replace(packed["query"], tokenizer=json.dumps(lower)), encoder, texts)


def test_vectors_are_compared_by_direction_and_length_and_zeros_are_equal() -> None:
    wanted = np.array([[1, 0], [0, 0]], np.float32)
    assert check_vectors("it", ["a", "b"], wanted.copy(), wanted) == 1.0
    for found in ([[0.5, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]], [[np.nan, 0], [0, 0]]):
        with pytest.raises(ModelError, match="it gives another vector"):
            check_vectors("it", ["a", "b"], np.array(found, np.float32), wanted)


def test_vectors_of_another_dimension_are_another_models() -> None:
    with pytest.raises(ModelMismatch, match=r"it gives vectors of shape \(1, 3\) for 1 texts .* \(1, 2\)"):
        check_vectors("it", ["a"], np.ones((1, 3), np.float32), np.ones((1, 2), np.float32))


def test_texts_longer_than_ml_commons_takes_are_refused(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(max_document_tokens=512), tokenizer.vocabulary_size)
    made = {"untrained": word_vectors, "training": {}, "defaults": ServingDefaults()}
    save_checkpoint(tmp_path / "long", towers, tokenizer, **made)
    pack_tower(tmp_path / "long", "query")
    with pytest.raises(ModelError, match="max_document_tokens is 512; ml-commons cuts texts at 511 tokens"):
        pack_tower(tmp_path / "long", "document")


def test_a_checkpoint_whose_files_changed_is_not_packed(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(CorruptModel, match=r"weights\.safetensors has SHA-256"):
        pack_tower(tmp_path, "query")
