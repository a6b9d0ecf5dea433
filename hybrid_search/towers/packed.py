"""A tower as the zip that OpenSearch's ml-commons runs: one ONNX file and the tokenizer. Layer 2, no torch.

The word vectors go along as float16, which is what a checkpoint holds, so nothing is rounded. ml-commons tokenizes by
itself, with the file that it is given: what this library does around the tokenizer is written into that file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer, processors

from hybrid_search.errors import MissingExtra, ModelError
from hybrid_search.storage import disk_errors
from hybrid_search.towers.model_card import ModelCard, read_model_card, verify_files
from hybrid_search.towers.tokenizer import PAD

__all__ = ["LONGEST", "PackedTower", "TowerName", "pack_tower"]

TowerName = Literal["query", "document"]

LONGEST = 512
"""Tokens; ml-commons cuts texts there, whatever the tokenizer's file says."""

_PAD_NAME = "[PAD]"
# Zips of the same files must have the same hash, so that the same model is known again: with one date, and not
# compressed, which each version of zlib does its own way and hardly gains anything on numbers.
_MOMENT = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PackedTower:
    """A tower for ml-commons.

    :ivar dimension: of its vectors.
    :ivar max_tokens: longer texts are cut there.
    :ivar onnx: inputs ``input_ids`` and ``attention_mask`` (n, t) int64; output (n, dimension) float32, pooled and
        normalised.
    :ivar tokenizer: the content of ``tokenizer.json``: cuts long texts, and never leaves a text without a token.
    :ivar archive: both as a zip.
    """

    name: TowerName
    fingerprint: str
    dimension: int
    max_tokens: int
    onnx: bytes
    tokenizer: str
    archive: bytes

    @property
    def sha256(self) -> str:
        """The archive's hash, 64 hexadecimal digits."""
        return hashlib.sha256(self.archive).hexdigest()


def pack_tower(folder: Path, name: TowerName) -> PackedTower:
    """Pack one tower of a checkpoint; the same checkpoint gives the same bytes.

    :raises ModelNotFound: if there is none.
    :raises CorruptModel: if a file of it changed since it was written.
    :raises ModelError: if its texts are longer than ml-commons takes.
    :raises MissingExtra: without the package onnx.
    """
    card = read_model_card(folder)
    verify_files(folder, card, (f"{name}.onnx", "weights.safetensors", "tokenizer.json"))
    max_tokens = _max_tokens(card, name)
    onnx = _in_one_file(folder / f"{name}.onnx")
    with disk_errors(f"reading {folder}"):
        tokenizer = _self_sufficient((folder / "tokenizer.json").read_text(encoding="utf-8"), max_tokens)
    return PackedTower(
        name=name,
        fingerprint=card.fingerprint,
        dimension=card.tower.dimension,
        max_tokens=max_tokens,
        onnx=onnx,
        tokenizer=tokenizer,
        archive=_zipped({f"{name}.onnx": onnx, "tokenizer.json": tokenizer.encode()}),
    )


def _max_tokens(card: ModelCard, name: TowerName) -> int:
    tokens = card.tower.max_query_tokens if name == "query" else card.tower.max_document_tokens
    if tokens >= LONGEST:  # one place is for the token that is always added
        raise ModelError(
            f"max_{name}_tokens is {tokens}; ml-commons cuts texts at {LONGEST - 1} tokens, so the same text would get "
            f"another vector there; train with --set towers.max_{name}_tokens={LONGEST - 1} or less"
        )
    return tokens


def _in_one_file(path: Path) -> bytes:
    """Put the word vectors, which a checkpoint keeps in another file, into the graph."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "train") from error
    with disk_errors(f"reading {path}"):
        return bytes(onnx.load(str(path)).SerializeToString())


def _self_sufficient(content: str, max_tokens: int) -> str:
    """Let the tokenizer itself cut long texts, and end each with PAD, which no tower counts.

    A text without a word would otherwise have no token at all, and a graph can't be run on none.
    """
    tokenizer = Tokenizer.from_str(content)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_PAD_NAME}", pair=f"$A $B {_PAD_NAME}", special_tokens=[(_PAD_NAME, PAD)]
    )
    tokenizer.enable_truncation(max_tokens + 1)
    return json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, sort_keys=True)


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content, zipfile.ZIP_STORED)
    return buffer.getvalue()
