"""A tower as a zip for OpenSearch's ml-commons, and the check that it gives the checkpoint's vectors.

The word vectors are included as float16, as in a checkpoint, so nothing is rounded. ml-commons tokenizes by itself with
the given file; what this package does before and after the tokenizer is therefore written into that file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, processors

from hybrid_search.errors import MissingExtra, ModelError, ModelMismatch
from hybrid_search.protocols import Encoder
from hybrid_search.storage import disk_errors
from hybrid_search.towers.model_card import ModelCard, read_model_card, verify_files
from hybrid_search.towers.onnx.runtime import open_session
from hybrid_search.towers.tokenizer import PAD, TextTokenizer

__all__ = [
    "LEAST_COSINE",
    "LEAST_OF_SMALL",
    "LONGEST",
    "PackedTower",
    "TowerName",
    "check_packed",
    "check_vectors",
    "pack_tower",
    "sample_texts",
]


TowerName = Literal["query", "document"]

LONGEST = 512
"""Number of tokens at which ml-commons cuts texts, whatever the tokenizer's file says."""

_PAD_NAME = "[PAD]"
# Zips of the same files must have the same hash, by which a model is recognised: so all dates are the same, and files
# are stored without compression, which differs between versions of zlib and hardly makes numbers smaller.
_MOMENT = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PackedTower:
    """A tower for ml-commons.

    :ivar dimension: of its vectors.
    :ivar max_tokens: longer texts are cut.
    :ivar onnx: inputs ``input_ids`` and ``attention_mask`` (n, t) int64; output (n, dimension) float32, pooled and
        normalised.
    :ivar tokenizer: content of ``tokenizer.json``; cuts long texts, and gives each text at least one token.
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
        """SHA-256 of the archive, 64 hexadecimal digits."""
        return hashlib.sha256(self.archive).hexdigest()


def pack_tower(folder: Path, name: TowerName) -> PackedTower:
    """Pack a tower of a checkpoint; the same checkpoint always gives the same bytes.

    :raises ModelNotFound: if there is none.
    :raises CorruptModel: if one of its files has changed since it was written.
    :raises ModelError: if its texts are longer than ml-commons allows.
    :raises MissingExtra: if the package onnx is not installed.
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
    if tokens >= LONGEST:  # one token is reserved for the PAD that is always added
        raise ModelError(
            f"max_{name}_tokens is {tokens}; ml-commons cuts texts at {LONGEST - 1} tokens, so the same text would get "
            f"another vector there; train with towers.max_{name}_tokens={LONGEST - 1} or less"
        )
    return tokens


def _in_one_file(path: Path) -> bytes:
    """Return the graph with the word vectors, which a checkpoint keeps in another file."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "train") from error
    with disk_errors(f"reading {path}"):
        return bytes(onnx.load(str(path)).SerializeToString())


def _self_sufficient(content: str, max_tokens: int) -> str:
    """Make the tokenizer cut long texts and append a PAD, which no tower counts.

    Otherwise a text without words would have no tokens, and the graph can't be run on an empty input.
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


LEAST_COSINE = 0.9999
"""Least cosine of a text's vectors from the packed tower and from the checkpoint."""

LEAST_OF_SMALL = 0.999
"""The same of a tower in 8-bit numbers on another runtime: a value between two whole numbers may be rounded to either,
which happens in a text or two of a hundred. The mean is held to :data:`LEAST_COSINE`."""

_SAMPLES = 200
_ODD = (
    "",
    " \t\r\n ",
    "…?!-_()",
    "🦀🔥",
    "\u200b\ufeff",
    "a",
    "42",
    "3.14159 1e-7 0x1F",
    "ALL CAPITALS AND Mixed Case",
    "ﬁne ﬂuﬀ ① ½ ™ Ａｂｃ",  # characters that NFKC decomposes
    "caf\u00e9 and cafe\u0301",
    "İstanbul STRASSE straße",
    "snake_case camelCase kebab-case path/to/file.py",
    "user@example.org https://example.org/?q=a&b=c#d",
    "日本語のテキスト 한국어 中文",
    "Привет мир γειά σου שלום مرحبا",
    "नमस्ते สวัสดี",
    "tab\tseparated\nlines\r\nand\x00nul\x1fbytes",
    "x" * 150,
    "word " * 1_000,
    "[PAD] [UNK] [CLS] ##ing",
    '"quotes" \\backslash\\ {"json": [1, 2]}',
    "<p>markup &amp; entities</p>",
)


def sample_texts(tokenizer: TextTokenizer) -> list[str]:
    """Return 200 texts, always the same for a tokenizer: unusual ones, and random words of the vocabulary."""
    words = [token.removeprefix("##") for token in tokenizer.tokens()[2:]] or ["word"]
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=_SAMPLES - len(_ODD))
    return [*_ODD, *(" ".join(words[number] for number in rng.integers(0, len(words), size=n)) for n in lengths)]


def check_packed(tower: PackedTower, encoder: Encoder, texts: Sequence[str]) -> float:
    """Run a packed tower as ml-commons does, one text at a time, and compare its vectors with the checkpoint's.

    :param encoder: of the checkpoint.
    :return: the lowest cosine over the texts.
    :raises ModelError: if that is not above :data:`LEAST_COSINE`; names the text.
    """
    tokenizer = Tokenizer.from_str(tower.tokenizer)
    session = open_session(tower.onnx)
    found = np.stack([_vector(session, tokenizer.encode(text)) for text in texts])
    return check_vectors(f"the packed {tower.name} tower", texts, found, _wanted(tower, encoder, texts))


def check_vectors(
    what: str,
    texts: Sequence[str],
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    least: float = LEAST_COSINE,
) -> float:
    """Compare two arrays (n, dimension) of the vectors of n texts; two zero vectors count as equal.

    :param least: cosine that each text must be above; the mean of all must be above :data:`LEAST_COSINE`.
    :return: the lowest cosine, reduced if the vectors' lengths differ.
    :raises ModelMismatch: if the shapes differ, so the vectors are from different models.
    :raises ModelError: if the lowest cosine or the mean is too low.
    """
    if found.shape != expected.shape:
        raise ModelMismatch(
            f"{what} gives vectors of shape {found.shape} for {len(texts)} texts and the checkpoint {expected.shape}: "
            f"it is another model; serve the index's"
        )
    lengths = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
    longest = np.maximum(*lengths)
    products = np.einsum("nd,nd->n", found.astype(np.float64), expected.astype(np.float64))
    # Divided by the square of the longer vector, so that vectors of different lengths are not equal.
    cosines = np.where(longest == 0, 1.0, products / np.maximum(longest**2, 1e-12))
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-1.0)))
    if not (cosines[worst] > least and cosines.mean() > LEAST_COSINE):
        raise ModelError(
            f"{what} gives another vector than the checkpoint for {texts[worst][:60]!r}: cosine {cosines[worst]:.6f}, "
            f"wanted above {least}, and {LEAST_COSINE} on average (it is {cosines.mean():.6f}); report this, and let "
            "clients encode meanwhile"
        )
    return float(cosines[worst])


def _wanted(tower: PackedTower, encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float32]:
    encode = encoder.encode_queries if tower.name == "query" else encoder.encode_documents
    return np.asarray(encode(texts), dtype=np.float32)


def _vector(session: Any, encoding: Any) -> NDArray[np.float32]:
    ids = np.array([encoding.ids], dtype=np.int64)
    mask = np.array([encoding.attention_mask], dtype=np.int64)
    (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    return np.asarray(vectors[0], dtype=np.float32)
