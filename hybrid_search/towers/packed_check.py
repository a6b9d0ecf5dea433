"""The proof that a packed tower gives the vectors of the checkpoint it was made from. Layer 2, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from hybrid_search.errors import ModelError, ModelMismatch
from hybrid_search.protocols import Encoder
from hybrid_search.towers.onnx_runtime import open_session
from hybrid_search.towers.packed import PackedTower
from hybrid_search.towers.tokenizer import TextTokenizer

__all__ = ["LEAST_COSINE", "check_packed", "check_vectors", "sample_texts"]

LEAST_COSINE = 0.9999
"""Between a text's vector here and there."""

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
    "ﬁne ﬂuﬀ ① ½ ™ Ａｂｃ",  # forms that NFKC takes apart
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
    """Return 200 texts, the same ones for the same tokenizer: odd ones, and words of the vocabulary in any order."""
    words = [token.removeprefix("##") for token in tokenizer.tokens()[2:]] or ["word"]
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=_SAMPLES - len(_ODD))
    return [*_ODD, *(" ".join(words[number] for number in rng.integers(0, len(words), size=n)) for n in lengths)]


def check_packed(tower: PackedTower, encoder: Encoder, texts: Sequence[str]) -> float:
    """Run a packed tower as ml-commons does, on one text at a time, and compare it with the checkpoint.

    :param encoder: of the checkpoint.
    :return: the lowest cosine of any text's two vectors.
    :raises ModelError: if it is not above :data:`LEAST_COSINE`, naming the text.
    """
    tokenizer = Tokenizer.from_str(tower.tokenizer)
    session = open_session(tower.onnx)
    found = np.stack([_vector(session, tokenizer.encode(text)) for text in texts])
    return check_vectors(f"the packed {tower.name} tower", texts, found, _wanted(tower, encoder, texts))


def check_vectors(what: str, texts: Sequence[str], found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Compare two (n, dimension) arrays of vectors of n texts; two zero vectors are alike.

    :return: the lowest cosine; lower still where the lengths differ.
    :raises ModelMismatch: if the arrays' shapes differ: they are from another model.
    :raises ModelError: if it is not above :data:`LEAST_COSINE`.
    """
    if found.shape != wanted.shape:
        raise ModelMismatch(
            f"{what} gives vectors of shape {found.shape} for {len(texts)} texts and the checkpoint {wanted.shape}: "
            f"it is another model; serve the index's"
        )
    lengths = np.linalg.norm(found, axis=1), np.linalg.norm(wanted, axis=1)
    longest = np.maximum(*lengths)
    products = np.einsum("nd,nd->n", found.astype(np.float64), wanted.astype(np.float64))
    # Against the longer one, so that a vector of another length is no equal either.
    cosines = np.where(longest == 0, 1.0, products / np.maximum(longest**2, 1e-12))
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-1.0)))
    if not cosines[worst] > LEAST_COSINE:
        raise ModelError(
            f"{what} gives another vector than the checkpoint for {texts[worst][:60]!r}: cosine {cosines[worst]:.6f}, "
            f"wanted above {LEAST_COSINE}; report this, and let clients encode meanwhile"
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
