"""``model.json``: the description of a checkpoint, the hashes of its files, and default search settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

from hybrid_search.errors import ConfigError, CorruptModel, ModelError, ModelNotFound
from hybrid_search.settings.base import Setting
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.settings.training import TowerConfig
from hybrid_search.storage import atomic_write_bytes, disk_errors, sha256_of
from hybrid_search.types import text_hash

__all__ = [
    "FORMAT_VERSION",
    "MODEL_FILE",
    "RECORD_FILE",
    "SERVING_FILES",
    "UNTRAINED_FILE",
    "ModelCard",
    "ServingDefaults",
    "read_model_card",
    "sample_of",
    "serving_files",
    "verify_files",
    "write_model_card",
]

_LARGEST_CARD = 1 << 20
_LARGEST_FILE = 4 << 30
_LARGEST_TOKENIZER = 1 << 29
"""Most bytes of files that are read into memory as a whole."""

_RESTORE = "restore the checkpoint from a copy, or train again"
FORMAT_VERSION = 2
_SAMPLE = 256
MODEL_FILE = "model.json"
RECORD_FILE = "training.safetensors"
"""Hashes of the queries that were seen in training, and the teacher's axes."""
_TOKENIZER, _WEIGHTS = "tokenizer.json", "weights.safetensors"
UNTRAINED_FILE = "untrained.safetensors"
"""The word vectors before training; a model that comes with the package has none."""
SERVING_FILES = (
    MODEL_FILE,
    _TOKENIZER,
    _WEIGHTS,
    "query.onnx",
    "document.onnx",
    UNTRAINED_FILE,
)
"""The files that an index copies."""


class ServingDefaults(Setting, frozen=True):
    """Default settings of an index with this model; not part of the fingerprint.

    :ivar fusion: fitted on validation queries, if there were any.
    :ivar weigh: choose the weights of ``fusion`` anew for each index, on queries that are made of its documents: for a
        model that has not seen them.
    """

    fusion: Fusion = Fusion()
    bm25: Bm25 = Bm25()
    weigh: bool = False


class ModelCard(Setting, frozen=True):
    """The content of ``model.json``.

    :ivar fingerprint: 64 hexadecimal digits of a hash of all that determines a vector: weights, tokenizer, tower
        configuration.
    :ivar files: name -> SHA-256 of each other file of the checkpoint.
    :ivar training_queries: a sample of the training queries, by which an evaluation recognises them: the smallest of
        their :func:`~hybrid_search.types.text_hash`, at most 256.
    :ivar parents: fingerprints of the models that the training started from, the nearest first.
    :ivar measured: nDCG@10 on the validation queries, by system.
    :ivar old_validation: of the towers on the parent's validation queries, ``before`` and ``after``; empty without a
        parent, or if it could not be measured.
    :ivar training_seconds: how long the last training took; 0 if that is not known.
    """

    format_version: int
    fingerprint: str
    tower: TowerConfig
    tokenizer_hash: str
    vocabulary_size: int
    files: dict[str, str]
    defaults: ServingDefaults = ServingDefaults()
    training_queries: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    measured: dict[str, float] = msgspec.field(default_factory=dict)
    old_validation: dict[str, float] = msgspec.field(default_factory=dict)
    training_seconds: float = 0.0

    @property
    def served(self) -> tuple[str, ...]:
        """Those of :data:`SERVING_FILES` that the checkpoint has."""
        return tuple(name for name in SERVING_FILES if name != UNTRAINED_FILE or name in self.files)


def sample_of(queries: Iterable[str]) -> tuple[str, ...]:
    """Return the sample of queries for :attr:`ModelCard.training_queries`."""
    return tuple(sorted({text_hash(query) for query in queries})[:_SAMPLE])


def read_model_card(folder: Path) -> ModelCard:
    """Read and check ``model.json``.

    :raises ModelNotFound: if the folder or the file does not exist.
    :raises CorruptModel: if the content differs from its checksum.
    :raises ModelError: if another version wrote it.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelNotFound(f"there is no model at {folder}: no {MODEL_FILE} in it; give the folder that `train` wrote")
    _check_inside(path)
    with disk_errors(f"reading {path}"):
        if path.stat().st_size > _LARGEST_CARD:
            raise CorruptModel(f"{path} has more than {_LARGEST_CARD:,} bytes; {_RESTORE}")
        data = path.read_bytes()
    try:
        values = msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CorruptModel(f"{path} is not readable ({error}); {_RESTORE}") from error
    if values.pop("checksum", None) != _checksum(values):
        raise CorruptModel(f"{path} does not match its own checksum; {_RESTORE}")
    if values.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {values.get('format_version')}, this program reads {FORMAT_VERSION}; "
            f"use the version of hybrid-search that wrote it, or train again"
        )
    try:
        return ModelCard.from_mapping(values, source=str(path))
    except ConfigError as error:  # not damage, as its checksum is right
        raise ModelError(f"{error}; another version of hybrid-search wrote it: use that one, or train again") from error


def serving_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that an index copies.

    :raises ModelError: if its card can't be read, as :func:`read_model_card`.
    """
    return [folder / name for name in read_model_card(folder).served]


def write_model_card(folder: Path, card: ModelCard) -> None:
    """Write ``model.json`` atomically, with a checksum over its own content.

    :raises StorageError: if it can't be written.
    """
    values = msgspec.to_builtins(card)
    data = msgspec.json.encode({**values, "checksum": _checksum(values)})
    atomic_write_bytes(folder / MODEL_FILE, msgspec.json.format(data, indent=2) + b"\n")


def verify_files(folder: Path, card: ModelCard, names: Iterable[str]) -> None:
    """Compare files with their recorded hashes, and the weights with the fingerprint.

    Recorded hashes can be changed together with a file, but then the fingerprint does not match: it is a hash of the
    weights, the tokenizer and the tower's settings themselves, and an index stores it.

    :param names: files of the checkpoint; ``model.json`` is skipped, as :func:`read_model_card` checks it.
    :raises CorruptModel: naming the first file that is missing, changed, or a link to a file outside the folder.
    """
    names = [name for name in names if name != MODEL_FILE]
    for name in names:
        path = folder / name
        if path.name != name or name == "..":
            raise CorruptModel(f"{folder / MODEL_FILE} lists {name!r}, which is no name of a file; {_RESTORE}")
        if not path.is_file():
            raise CorruptModel(f"{path} is missing; {_RESTORE}")
        _check_inside(path)
        if path.stat().st_size > (most := _LARGEST_TOKENIZER if name == _TOKENIZER else _LARGEST_FILE):
            raise CorruptModel(f"{path} has more than {most:,} bytes; {_RESTORE}")
        if (found := sha256_of(path)) != (recorded := card.files.get(name, "")):
            raise CorruptModel(f"{path} has SHA-256 {found[:12]}…, {recorded[:12]}… was recorded; {_RESTORE}")
    if _WEIGHTS in names and (found := _fingerprint(folder)) != card.fingerprint:
        raise CorruptModel(
            f"{folder} holds the model {found[:12]}…, and {MODEL_FILE} says {card.fingerprint[:12]}…: its files were "
            f"changed together with their recorded hashes; {_RESTORE}"
        )


def _fingerprint(folder: Path) -> str:
    """Compute the fingerprint from the files, as ``checkpoint.fingerprint_of`` does from what is stored."""
    digest = hashlib.sha256()
    try:
        with safe_open(folder / _WEIGHTS, framework="numpy") as weights:
            for name in sorted(weights.keys()):
                values = weights.get_tensor(name)
                digest.update(f"{name} torch.float32 {tuple(values.shape)}\n".encode())
                digest.update(values.astype("<f4").tobytes())
    except (SafetensorError, OSError, TypeError) as error:
        raise CorruptModel(f"{folder / _WEIGHTS} is not readable: {error}; {_RESTORE}") from error
    digest.update(f"{sha256_of(folder / _TOKENIZER)}\n".encode())
    # The settings as they are in the file, as a later version may have more.
    with disk_errors(f"reading {folder / MODEL_FILE}"):
        card = msgspec.json.decode((folder / MODEL_FILE).read_bytes())
    digest.update(msgspec.json.encode(card["tower"], order="sorted"))
    return digest.hexdigest()


def _check_inside(path: Path) -> None:
    """Refuse links to files outside the folder: a model may come from anywhere, and must not make us read these."""
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise CorruptModel(
            f"{path} is a symbolic link to {os.readlink(path)}, outside of the model; make a copy with the files "
            f"themselves (cp -rL) and give that"
        )


def _checksum(values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()
