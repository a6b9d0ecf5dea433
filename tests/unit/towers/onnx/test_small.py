"""Towers in 8-bit numbers: what is stored is what is computed, whichever texts are beside a text."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tiny_towers import TEXTS, small_config, small_towers

from hybrid_search.errors import CorruptModel, ModelError
from hybrid_search.storage import sha256_of
from hybrid_search.towers.checkpoint import load_towers, save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults, read_model_card, serving_files, write_model_card
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.onnx import export as onnx_export
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.packed import check_packed, pack_tower, sample_texts
from hybrid_search.towers.padding import pad_ids
from hybrid_search.towers.small import INPUT_STEP, STEP, Sample, full_weights, make_small
from hybrid_search.towers.tokenizer import TextTokenizer


def towers_in(tokenizer: TextTokenizer, **settings: object) -> TwoTower:
    return small_towers(small_config(encoder="rec", residual=False, **settings), tokenizer.vocabulary_size)


def sample_of(tokenizer: TextTokenizer) -> Sample:
    ids = tokenizer.encode(TEXTS, 32)
    return Sample(ids[::2], ids)


def saved(folder: Path, towers: TwoTower, tokenizer: TextTokenizer) -> Path:
    save_checkpoint(
        folder, towers, tokenizer, untrained=None, training={}, defaults=ServingDefaults(), sample=sample_of(tokenizer)
    )
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    return saved(tmp_path_factory.mktemp("small") / "m", towers_in(tokenizer), tokenizer)


def vectors(towers: TwoTower, tokenizer: TextTokenizer) -> NDArray[np.float32]:
    ids = torch.from_numpy(pad_ids(tokenizer.encode(TEXTS, 32)))
    return np.asarray(towers.encode_documents(ids).detach().numpy())


def test_a_row_is_whole_numbers_times_a_step_and_moves_by_half_a_step_at_most(tokenizer: TextTokenizer) -> None:
    towers = towers_in(tokenizer)
    before = {name: weight.detach().clone() for name, weight in towers.named_parameters()}
    stored = make_small(towers, sample_of(tokenizer))
    assert {name for name in stored if name.endswith(STEP)} == {n + STEP for n, w in before.items() if w.ndim == 2}
    for name, weight in before.items():
        if weight.ndim == 2:
            assert stored[name].dtype == torch.int8
            most = 127 if "embedding" in name else 63
            assert int(stored[name].abs().max()) == most
            assert bool(((full_weights(stored)[name] - weight).abs() <= stored[name + STEP][:, None] * 0.501).all())
        else:
            assert torch.equal(full_weights(stored)[name], weight)
    for name, weight in towers.named_parameters():
        assert torch.equal(weight, full_weights(stored)[name])


def test_a_row_of_zeros_stays_zero(tokenizer: TextTokenizer) -> None:
    towers = towers_in(tokenizer)
    stored = make_small(towers, sample_of(tokenizer))
    assert not full_weights(stored)["query_tower.embedding.weight"][0].any()


@pytest.mark.parametrize("sharing", ["tied", "shared_embeddings", "separate"])
@pytest.mark.parametrize("layers", [1, 2])
def test_what_onnx_runtime_computes_is_near_torch_and_the_same_to_the_bit_in_any_batch(
    tmp_path: Path, tokenizer: TextTokenizer, sharing: str, layers: int
) -> None:
    towers = towers_in(tokenizer, towers=sharing, layers=layers)
    exact = vectors(towers, tokenizer)
    encoder = OnnxEncoder.load(saved(tmp_path / "m", towers, tokenizer))
    found = encoder.encode_documents(TEXTS)
    known = exact.any(axis=1)
    assert (exact * found).sum(axis=1)[known].min() > 0.99
    assert not found[~known].any()
    for row, text in enumerate(TEXTS):
        assert np.array_equal(encoder.encode_documents([text])[0], found[row])
        assert np.array_equal(encoder.encode_documents([text, "a much longer text " * 9])[0], found[row])
    queries = encoder.encode_queries(TEXTS)
    assert all(np.array_equal(encoder.encode_queries([text])[0], queries[row]) for row, text in enumerate(TEXTS))


def test_they_come_back_as_they_were_saved(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    towers = towers_in(tokenizer)
    again, _, card = load_towers(saved(tmp_path / "m", towers, tokenizer))
    assert np.array_equal(vectors(again, tokenizer), vectors(towers, tokenizer))
    # Saved once more, with the same sample, they are the same model.
    assert read_model_card(saved(tmp_path / "n", again, tokenizer)).fingerprint == card.fingerprint


def test_matrices_are_in_the_weights_alone(model: Path) -> None:
    for name in ("query.onnx", "document.onnx"):
        graph = onnx.load(model / name, load_external_data=False).graph
        assert [tensor.name for tensor in graph.initializer if len(tensor.raw_data) >= 256] == []
    weights = load_file(model / "weights.safetensors")
    assert {weight.dtype for weight in weights.values() if weight.ndim == 2} == {torch.int8}


def test_a_changed_step_is_another_model(tmp_path: Path, model: Path) -> None:
    for end in (STEP, INPUT_STEP):
        copy = Path(shutil.copytree(model, tmp_path / end))
        weights = load_file(copy / "weights.safetensors")
        name = next(one for one in sorted(weights) if one.endswith(end))
        weights[name] = weights[name] * 1.01
        save_file(weights, copy / "weights.safetensors")
        card = read_model_card(copy)
        hashes = {**card.files, "weights.safetensors": sha256_of(copy / "weights.safetensors")}
        write_model_card(copy, card.replace(files=hashes))
        with pytest.raises(CorruptModel, match="changed together with their recorded hashes"):
            OnnxEncoder.load(copy)


@pytest.mark.parametrize("steps", [torch.ones(3), torch.tensor(1.0), torch.ones(2, 2, 2)])
def test_steps_that_fit_no_matrix_are_told_as_damage_though_all_hashes_are_right(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, steps: torch.Tensor
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    weights = load_file(copy / "weights.safetensors")
    weights[next(one for one in sorted(weights) if one.endswith(STEP))] = steps
    save_file(weights, copy / "weights.safetensors")
    # Whoever makes a model can make its hashes too.
    monkeypatch.setattr("hybrid_search.towers.checkpoint.verify_files", lambda *given: None)
    with pytest.raises(CorruptModel, match=r"weights\.safetensors"):
        load_towers(copy)


def test_without_word_vectors_from_before_training_it_is_served_and_copied(model: Path) -> None:
    assert sorted(path.name for path in serving_files(model)) == [
        "document.onnx", "model.json", "query.onnx", "tokenizer.json", "weights.safetensors",
    ]  # fmt: skip


def test_packed_for_a_server_it_gives_the_same_vectors(model: Path, tokenizer: TextTokenizer) -> None:
    encoder = OnnxEncoder.load(model)
    for name in ("query", "document"):
        assert check_packed(pack_tower(model, name), encoder, sample_texts(tokenizer)) > 0.9999


def test_towers_that_lose_too_much_are_not_saved(
    tmp_path: Path, tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LEAST_COSINE", 1.01)
    with pytest.raises(ModelError, match="in 8-bit numbers differs from torch: mean cosine"):
        saved(tmp_path / "m", towers_in(tokenizer), tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_copies_nothing_that_a_layer_makes_or_reads(model: Path) -> None:
    """A split copies what it splits, and joining float32 numbers copies four times the bytes of 8-bit ones."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(model / "document.onnx"))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert "Split" not in {node.op_type for node in graph.node}
    joined = [types[node.input[0]] for node in graph.node if node.op_type == "Concat" and ".whole." in node.input[0]]
    # Each layer joins its directions and its means once.
    assert joined == [onnx.TensorProto.UINT8] * read_model_card(model).tower.layers
