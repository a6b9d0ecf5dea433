"""Checkpoints: a trained model as a folder, written atomically and verified when read.

::

    model.json             description, hashes of the files below, fusion and BM25 settings for searching
    tokenizer.json         text -> ids
    weights.safetensors    both towers' parameters; the word vectors as float16, or all matrices as 8-bit numbers
    query.onnx             the towers for ONNX Runtime, which read their word vectors from weights.safetensors
    document.onnx
    untrained.safetensors  the word vectors before training, for the baseline of an evaluation; not in every checkpoint
    training.json          data, arguments, seed, curve
    training.safetensors   hashes of the queries that were seen in training, the teacher's axes
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save
from torch import Tensor

from hybrid_search.errors import CorruptModel
from hybrid_search.settings.training import TowerConfig
from hybrid_search.storage import atomic_write_bytes, disk_errors, replace_folder, sha256_of
from hybrid_search.towers.model_card import (
    FORMAT_VERSION,
    MODEL_FILE,
    RECORD_FILE,
    SERVING_FILES,
    UNTRAINED_FILE,
    ModelCard,
    ServingDefaults,
    read_model_card,
    verify_files,
    write_model_card,
)
from hybrid_search.towers.networks.two_tower import Tower, TwoTower
from hybrid_search.towers.onnx.export import check_export, check_small, export_tower, share_weights
from hybrid_search.towers.small import INPUT_STEP, STEP, Sample, full_weights, make_small
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.towers.untrained import save_untrained
from hybrid_search.towers.word_vectors import WordVectors

__all__ = ["fingerprint_of", "load_towers", "save_checkpoint", "set_defaults", "strangers_in"]

_PARTS = (*SERVING_FILES, "training.json", RECORD_FILE, "log.jsonl", "wandb")
"""Names of the files of a checkpoint and of a run's trackers."""


def save_checkpoint(
    folder: Path,
    towers: TwoTower,
    tokenizer: TextTokenizer,
    *,
    untrained: WordVectors | Path | None,
    training: Mapping[str, Any],
    defaults: ServingDefaults,
    sample: Sample | None = None,
    training_queries: tuple[str, ...] = (),
    record: Mapping[str, NDArray[Any]] | None = None,
    parents: tuple[str, ...] = (),
) -> ModelCard:
    """Write a checkpoint to a temporary folder, compare its ONNX files with torch, then move it to ``folder``.

    The towers are rounded in place, so that towers, files and fingerprint agree: their word vectors to float16, or
    with ``encoder=rec`` and a sample all matrices to 8-bit numbers (:mod:`hybrid_search.towers.small`).

    :param untrained: the word vectors that training started from, or the file of them in another checkpoint; None for
        a checkpoint without them.
    :param sample: texts by which the steps of 8-bit numbers are chosen and checked.
    :param training: how it was trained, as JSON values.
    :param training_queries: :func:`~hybrid_search.towers.model_card.sample_of` the queries it was trained on.
    :param record: arrays that only a further training needs.
    :param parents: fingerprints of the models that the training started from, the nearest first.
    :raises ModelError: if ONNX and torch disagree; nothing is changed then.
    :raises StorageError: if the disk is full; nothing is changed then.
    """
    if towers.config.encoder != "rec":
        sample = None  # ONNX Runtime's recurrent operators don't gain by it
    stored = make_small(towers, sample) if sample else _rounded(towers)
    # A fixed name, so that what a killed process left is removed by the next.
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    with disk_errors(f"writing {folder}"):
        staging.mkdir(parents=True)
    try:
        _write_texts(staging, towers.config, tokenizer, untrained=untrained, training=training)
        _write_weights(staging, towers, stored, sample)
        if record:
            atomic_write_bytes(staging / RECORD_FILE, save_arrays(dict(record)))
        card = ModelCard(
            format_version=FORMAT_VERSION,
            fingerprint=fingerprint_of(stored, towers.config, tokenizer.hash),
            tower=towers.config,
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=tokenizer.vocabulary_size,
            files={path.name: sha256_of(path) for path in sorted(staging.iterdir())},
            defaults=defaults,
            training_queries=training_queries,
            parents=parents,
            training_seconds=round(float(training.get("report", {}).get("seconds", 0.0)), 1),
        )
        write_model_card(staging, card)
        replace_folder(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return card


def strangers_in(folder: Path) -> list[str]:
    """Return the names of files that are not part of a checkpoint, which must not be replaced by one."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        return [folder.name]
    return sorted(path.name for path in folder.iterdir() if path.name not in _PARTS)


def load_towers(folder: Path) -> tuple[TwoTower, TextTokenizer, ModelCard]:
    """Read a checkpoint, for further training or for comparing with ONNX; the towers are in evaluation mode.

    :raises ModelNotFound: if there is no checkpoint.
    :raises CorruptModel: if a file differs from its recorded hash.
    """
    card = read_model_card(folder)
    verify_files(folder, card, card.files)
    tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
    towers = TwoTower(card.tower, card.vocabulary_size)
    try:
        stored = full_weights(load_file(folder / "weights.safetensors"))
    except (SafetensorError, RuntimeError, IndexError) as error:  # torch's, of steps that fit no matrix
        raise CorruptModel(f"{folder / 'weights.safetensors'} is not readable: {error}") from error
    own = _weights(towers)
    if {name: weight.shape for name, weight in own.items()} != {name: w.shape for name, w in stored.items()}:
        raise CorruptModel(f"{folder / 'weights.safetensors'} does not fit the towers that {MODEL_FILE} describes")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(stored[name])
    return towers.eval(), tokenizer, card


def set_defaults(
    folder: Path,
    defaults: ServingDefaults,
    *,
    measured: Mapping[str, float] | None = None,
    old_validation: Mapping[str, float] | None = None,
) -> ModelCard:
    """Replace the default search settings and the figures of a checkpoint; vectors and fingerprint do not change."""
    card = read_model_card(folder)
    card = card.replace(defaults=defaults, measured=dict(measured or {}), old_validation=dict(old_validation or {}))
    write_model_card(folder, card)
    return card


def fingerprint_of(stored: Mapping[str, Tensor], config: TowerConfig, tokenizer_hash: str) -> str:
    """Return the SHA-256 over everything that determines a vector: weights, tokenizer hash, tower configuration.

    :param stored: the weights as they are written to the checkpoint.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(stored.items()):
        digest.update(f"{name} torch.float32 {tuple(weight.shape)}\n".encode())
        digest.update(weight.float().numpy(force=True).tobytes())
    digest.update(f"{tokenizer_hash}\n".encode())
    digest.update(config.to_json())
    return digest.hexdigest()


def _write_texts(
    folder: Path,
    config: TowerConfig,
    tokenizer: TextTokenizer,
    *,
    untrained: WordVectors | Path | None,
    training: Mapping[str, Any],
) -> None:
    atomic_write_bytes(folder / "tokenizer.json", tokenizer.to_json().encode())
    atomic_write_bytes(folder / "training.json", msgspec.json.format(msgspec.json.encode(training), indent=2) + b"\n")
    if isinstance(untrained, Path):
        with disk_errors(f"writing {folder}"):
            shutil.copyfile(untrained, folder / UNTRAINED_FILE)
    elif untrained is not None:
        save_untrained(folder / UNTRAINED_FILE, untrained, config.sif_a)


def _write_weights(folder: Path, towers: TwoTower, stored: Mapping[str, Tensor], sample: Sample | None) -> None:
    """Write the weights, and both towers for ONNX Runtime.

    :param sample: for weights that are 8-bit numbers.
    """
    file = folder / "weights.safetensors"
    # Not save_file: its files are readable by the owner alone, whatever the folder's rights.
    atomic_write_bytes(file, save({name: weight.contiguous() for name, weight in stored.items()}))
    for tower, name in ((towers.query_tower, "query"), (towers.document_tower, "document")):
        path = folder / f"{name}.onnx"
        export_tower(tower, path, _small_of(tower, towers, stored) if sample else {})
        share_weights(path, file)
        if sample:
            check_small(tower, path, (sample.queries if name == "query" else ()) or sample.documents)
        else:
            check_export(tower, path, towers.vocabulary_size)


def _small_of(tower: Tower, towers: TwoTower, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the stored weights of a tower by its own names for them; two towers may share some, which has one name."""
    names = {id(weight): name for name, weight in towers.named_parameters()}
    found = {}
    for own, weight in tower.named_parameters():
        for end in ("", STEP, INPUT_STEP):
            if (name := names[id(weight)] + end) in stored:
                found[own + end] = stored[name]
    return found


def _rounded(towers: TwoTower) -> dict[str, Tensor]:
    """Round the word vectors in place to float16, and return all weights as they are stored."""
    towers.round_word_vectors()
    tables = {id(table) for table in towers.embedding_parameters()}
    return {
        name: (weight.half() if id(weight) in tables else weight).detach() for name, weight in _weights(towers).items()
    }


def _weights(towers: TwoTower) -> dict[str, Tensor]:
    """Return name -> parameter, each once even if the towers share it."""
    return dict(towers.named_parameters())
