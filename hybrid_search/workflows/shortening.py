"""A checkpoint with shorter vectors out of one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import UsageError
from hybrid_search.storage import disk_errors
from hybrid_search.towers.checkpoint import load_towers, save_checkpoint, strangers_in
from hybrid_search.towers.model_card import MODEL_FILE
from hybrid_search.towers.shortening import shortened

__all__ = ["shorten"]


def shorten(model: Path, out: Path, dimension: int) -> Mapping[str, Any]:
    """Write a model whose vectors are the first ``dimension`` numbers of another's: a model of its own, like any other.

    :return: what came out, and notes on what may have suffered.
    :raises ModelNotFound: if there is no model; :raises CorruptModel: if a file of it changed.
    :raises ConfigError: if its vectors are no longer than that.
    :raises UsageError: if ``out`` holds a model or anything else.
    """
    if (out / MODEL_FILE).exists():
        raise UsageError(f"{out} holds a finished model; give another --out")
    if strangers := strangers_in(out):
        raise UsageError(f"{out} holds other files ({', '.join(strangers[:3])}); give an empty or a new folder")
    towers, tokenizer, card = load_towers(model)
    with disk_errors(f"reading {model}"):
        training = msgspec.json.decode((model / "training.json").read_bytes(), type=dict[str, Any])
    cut = shortened(towers, dimension)
    history = {**training, "shortened_from": {"fingerprint": card.fingerprint, "dimension": card.tower.dimension}}
    made = save_checkpoint(
        out, cut, tokenizer, untrained=model / "untrained.safetensors", training=history, defaults=card.defaults,
        training_queries=card.training_queries,
    )  # fmt: skip
    return {
        "model": str(out),
        "fingerprint": made.fingerprint,
        "dimension": dimension,
        "before": card.tower.dimension,
        "notes": _notes(training.get("settings", {}).get("matryoshka", []), dimension),
    }


def _notes(sizes: list[int], dimension: int) -> list[str]:
    notes = ["the weight of BM25 and k-NN is the long vectors'; `evaluate` shows what the hybrid is worth with these"]
    if dimension not in sizes:
        trained = ", ".join(map(str, sizes)) or "none"
        notes.insert(0, f"the model was not trained to be cut to {dimension} (--matryoshka: {trained}); it loses more")
    return notes
