"""Checkpoints: what is written is what is read, and what changed on the disk is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from tiny_towers import TEXTS, small_config, small_towers

from hybrid_search.errors import CorruptModel, ModelError, ModelNotFound
from hybrid_search.models import inspect_model
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.storage import sha256_of
from hybrid_search.towers import checkpoint as checkpoint_module
from hybrid_search.towers.checkpoint import fingerprint_of, load_towers, save_checkpoint, set_defaults
from hybrid_search.towers.model_card import SERVING_FILES, ServingDefaults, read_model_card, write_model_card
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.padding import pad_ids
from hybrid_search.towers.tokenizer import TextTokenizer, train_tokenizer
from hybrid_search.towers.untrained import UntrainedEncoder
from hybrid_search.towers.word_vectors import WordVectors

FILES = [
    "document.onnx", "model.json", "query.onnx", "tokenizer.json", "training.json", "untrained.safetensors",
    "weights.safetensors",
]  # fmt: skip


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_every_file_may_be_read_by_whoever_may_read_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {path.name: path.stat().st_mode for path in checkpoint.iterdir()} == dict.fromkeys(FILES, usual)


def test_a_checkpoint_is_seven_files(checkpoint: Path) -> None:
    assert sorted(path.name for path in checkpoint.iterdir()) == FILES


@pytest.mark.parametrize(
    ("sharing", "alike"),
    [
        ("tied", True),
        ("shared_embeddings", True),
        ("separate", True),
        ("shared_embeddings", False),
        ("separate", False),
    ],
)
def test_towers_come_back_as_they_were_saved(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors, sharing: str, alike: bool
) -> None:
    config = small_config(towers=sharing, pooling="attention", bidirectional_queries=alike)
    towers = small_towers(config, tokenizer.vocabulary_size)
    card = save_checkpoint(
        tmp_path / "m", towers, tokenizer, untrained=word_vectors, training={}, defaults=ServingDefaults()
    )
    again, tokenizer_again, card_again = load_towers(tmp_path / "m")
    ids = torch.from_numpy(pad_ids(tokenizer.encode(TEXTS, 32)))
    assert torch.equal(again.encode_queries(ids), towers.encode_queries(ids))
    assert torch.equal(again.encode_documents(ids), towers.encode_documents(ids))
    assert tokenizer_again.hash == tokenizer.hash
    assert card_again == card
    assert not again.training


def test_both_onnx_files_read_the_word_vectors_that_the_weights_hold_once(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(towers="shared_embeddings"), tokenizer.vocabulary_size)
    with torch.no_grad():
        towers.query_tower.embedding.weight.mul_(1.0001)  # no longer what float16 can hold
    exact = towers.encode_documents(torch.from_numpy(pad_ids(tokenizer.encode(TEXTS, 32)))).detach().numpy()
    save_checkpoint(tmp_path / "m", towers, tokenizer, untrained=word_vectors, training={}, defaults=ServingDefaults())
    table = tokenizer.vocabulary_size * towers.config.embedding_dimension * 2
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "m").iterdir()}
    shutil.move(tmp_path / "m", tmp_path / "moved")
    rounded = OnnxEncoder.load(tmp_path / "moved").encode_documents(TEXTS)
    assert (exact * rounded).sum(axis=1)[exact.any(axis=1)].min() > 0.9999
    for name in ("query.onnx", "document.onnx"):
        external = [
            t
            for t in onnx.load(tmp_path / "moved" / name, load_external_data=False).graph.initializer
            if t.external_data
        ]
        assert table in [int(entry.value) for t in external for entry in t.external_data if entry.key == "length"]
    assert sizes["weights.safetensors"] > table


def test_saving_leaves_the_towers_in_the_mode_they_were_in(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(dropout=0.5), tokenizer.vocabulary_size).train()
    save_checkpoint(tmp_path / "m", towers, tokenizer, untrained=word_vectors, training={}, defaults=ServingDefaults())
    assert all(module.training for module in towers.modules())


def test_saving_again_replaces_the_old_checkpoint_and_leaves_nothing_beside_it(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    prints = []
    for seed in (0, 1):
        towers = small_towers(small_config(encoder="mean"), tokenizer.vocabulary_size, seed)
        card = save_checkpoint(
            tmp_path / "m",
            towers,
            tokenizer,
            untrained=word_vectors,
            training={"seed": seed},
            defaults=ServingDefaults(),
        )
        prints.append(card.fingerprint)
    assert prints[0] != prints[1]
    assert read_model_card(tmp_path / "m").fingerprint == prints[1]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_checkpoint_of_an_older_version_opens_though_settings_of_its_training_are_gone(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    towers = small_towers(small_config(), tokenizer.vocabulary_size)
    training = {"settings": {"matryoshka": [64, 128]}, "shortened_from": {"fingerprint": "f", "dimension": 256}}
    card = save_checkpoint(
        tmp_path / "m", towers, tokenizer, untrained=word_vectors, training=training, defaults=ServingDefaults()
    )
    assert load_towers(tmp_path / "m")[2] == card
    assert inspect_model(tmp_path / "m")["fingerprint"] == card.fingerprint


def test_a_checkpoint_whose_onnx_differs_from_torch_is_not_published(
    tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small_towers(small_config(encoder="mean"), tokenizer.vocabulary_size, seed=9)
    export = checkpoint_module.export_tower
    monkeypatch.setattr(
        checkpoint_module, "export_tower", lambda tower, path, small: export(other.query_tower, path, small)
    )
    towers = small_towers(small_config(encoder="mean"), tokenizer.vocabulary_size)
    with pytest.raises(ModelError, match=r"query\.onnx differs from torch"):
        save_checkpoint(
            tmp_path / "m", towers, tokenizer, untrained=word_vectors, training={}, defaults=ServingDefaults()
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 1 / 3, 2 / 3, 1])
def test_a_flipped_byte_is_refused_with_the_files_name(copy: Path, name: str, place: float) -> None:
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x04
    (copy / name).write_bytes(data)
    with pytest.raises(CorruptModel, match=name.replace(".", r"\.")):
        load_towers(copy)
    if name in SERVING_FILES:
        with pytest.raises(CorruptModel, match=name.replace(".", r"\.")):
            OnnxEncoder.load(copy)


@pytest.mark.parametrize("name", ["tokenizer.json", "query.onnx", "document.onnx", "untrained.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CorruptModel, match=f"{name} is missing"):
        OnnxEncoder.load(copy)


def test_no_checkpoint_is_another_error_than_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="there is no model at"):
        load_towers(tmp_path / "nothing")


def test_a_number_changed_by_hand_in_the_card_is_noticed(copy: Path) -> None:
    card = (copy / "model.json").read_text()
    (copy / "model.json").write_text(card.replace('"max_query_tokens": 32', '"max_query_tokens": 33'))
    with pytest.raises(CorruptModel, match="does not match its own checksum"):
        read_model_card(copy)


def test_a_newer_format_asks_for_a_newer_program(copy: Path) -> None:
    write_model_card(copy, read_model_card(copy).replace(format_version=3))
    with pytest.raises(ModelError, match="format version 3, this program reads 2"):
        read_model_card(copy)


def test_a_setting_of_a_newer_program_is_no_damage(copy: Path) -> None:
    file = copy / "model.json"
    card = json.loads(file.read_text())
    card["tower"]["colour"] = "red"
    del card["checksum"]
    card["checksum"] = hashlib.sha256(msgspec.json.encode(card, order="sorted")).hexdigest()
    file.write_text(json.dumps(card))
    with pytest.raises(
        ModelError, match=r"unknown field `colour`.*another version of hybrid-search wrote it"
    ) as caught:
        read_model_card(copy)
    assert not isinstance(caught.value, CorruptModel)


def test_defaults_change_without_changing_the_fingerprint(copy: Path) -> None:
    before = read_model_card(copy)
    wanted = ServingDefaults(fusion=Fusion(weights=(0.7, 0.3)), bm25=Bm25(k1=0.9, b=0.4))
    set_defaults(copy, wanted)
    after, _, _ = read_model_card(copy), OnnxEncoder.load(copy), load_towers(copy)
    assert after.defaults == wanted
    assert after.fingerprint == before.fingerprint


def _of(towers: TwoTower, tokenizer: TextTokenizer) -> str:
    return fingerprint_of(dict(towers.named_parameters()), towers.config, tokenizer.hash)


def test_the_fingerprint_follows_weights_tokenizer_and_configuration(tokenizer: TextTokenizer) -> None:
    config = small_config()
    first = _of(small_towers(config), tokenizer)
    assert first == _of(small_towers(config), tokenizer)
    other_weights = small_towers(config)
    with torch.no_grad():
        other_weights.document_tower.log_weights[5] += 1e-3
    other_tokenizer = train_tokenizer(TEXTS[:4], vocabulary=100, min_frequency=1)
    others = {
        _of(other_weights, tokenizer),
        _of(small_towers(config), other_tokenizer),
        _of(small_towers(small_config(max_query_tokens=31)), tokenizer),
        _of(small_towers(small_config(bidirectional_queries=False)), tokenizer),
    }
    assert len(others | {first}) == 5


def test_the_card_is_json_that_people_can_read(checkpoint: Path) -> None:
    card = json.loads((checkpoint / "model.json").read_text())
    assert card["tower"]["encoder"] == "gru"
    assert sorted(card["files"]) == [name for name in FILES if name != "model.json"]


def test_the_untrained_baseline_is_the_weighted_mean_by_hand(
    checkpoint: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    encoder = UntrainedEncoder.load(checkpoint)
    ids = tokenizer.encode(["the cat"], 10)[0]
    weights = 1e-4 / (1e-4 + word_vectors.counts[ids] / word_vectors.counts.sum())
    wanted = (word_vectors.vectors[ids] * weights[:, None]).sum(axis=0)
    found = encoder.encode_documents(["the cat", "жизнь", ""])
    assert found[0] @ wanted / np.linalg.norm(wanted) > 0.9999  # the file has 8-bit numbers
    assert not found[1:].any()
    assert (encoder.dimension, encoder.similarity) == (8, "cosine")
    assert encoder.fingerprint != read_model_card(checkpoint).fingerprint


def test_the_untrained_baseline_encodes_alike_alone_and_in_a_batch(checkpoint: Path) -> None:
    encoder = UntrainedEncoder.load(checkpoint)
    batch = encoder.encode_queries(TEXTS)
    alone = np.concatenate([encoder.encode_queries([text]) for text in TEXTS])
    np.testing.assert_allclose(batch, alone, atol=1e-6)


def forged(checkpoint: Path, folder: Path, name: str, data: bytes) -> Path:
    """Copy a checkpoint with another file in it, and write down that file's hash as its own."""
    shutil.copytree(checkpoint, folder)
    (folder / name).write_bytes(data)
    card = read_model_card(folder)
    write_model_card(folder, card.replace(files={**card.files, name: sha256_of(folder / name)}))
    return folder


def test_files_changed_together_with_their_recorded_hashes_do_not_have_the_fingerprint(
    checkpoint: Path, copy: Path, tmp_path: Path, tokenizer: TextTokenizer, word_vectors: WordVectors
) -> None:
    card = read_model_card(checkpoint)
    towers = small_towers(card.tower, tokenizer.vocabulary_size, seed=9)
    save_checkpoint(
        tmp_path / "other", towers, tokenizer, untrained=word_vectors, training={}, defaults=ServingDefaults()
    )
    weights = (tmp_path / "other" / "weights.safetensors").read_bytes()
    tokens = (checkpoint / "tokenizer.json").read_bytes() + b"\n"
    write_model_card(copy, card.replace(tower=card.tower.replace(max_query_tokens=7)))
    folders = [
        forged(checkpoint, tmp_path / "weights", "weights.safetensors", weights),
        forged(checkpoint, tmp_path / "tokens", "tokenizer.json", tokens),
        copy,
    ]
    for folder in folders:
        with pytest.raises(CorruptModel, match="changed together with their recorded hashes"):
            OnnxEncoder.load(folder)


@pytest.mark.parametrize("name", ["../other/weights.safetensors", "/dev/zero", "sub/file", ".."])
def test_a_model_card_names_no_file_outside_its_folder(copy: Path, name: str) -> None:
    card = read_model_card(copy)
    write_model_card(copy, card.replace(files={**card.files, name: "0" * 64}))
    with pytest.raises(CorruptModel, match="no name of a file"):
        load_towers(copy)


def test_a_model_card_that_is_too_large_or_a_file_without_an_end_is_not_read(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer.json").symlink_to("/dev/zero")
    with pytest.raises(CorruptModel, match="is missing"):
        OnnxEncoder.load(copy)
    with (copy / "model.json").open("ab") as file:
        file.truncate(2 << 20)
    with pytest.raises(CorruptModel, match="has more than 1,048,576 bytes"):
        OnnxEncoder.load(copy)
