"""Say what an index or a model is, and hand out a model's files."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import CorruptIndex
from hybrid_search.storage import disk_errors
from hybrid_search.workflows.locations import folder_of, open_engine

__all__ = ["export_onnx", "inspect_index", "inspect_model", "is_model"]

ONNX_FILES = ("model.json", "tokenizer.json", "query.onnx", "document.onnx")


def is_model(path: Path) -> bool:
    """Tell a checkpoint folder from an index."""
    return (path / "model.json").is_file()


def inspect_model(path: Path) -> Mapping[str, Any]:
    """Describe a checkpoint, after checking all its files.

    :raises ModelNotFound: if there is none.
    :raises CorruptModel: if a file is not what was written.
    """
    from hybrid_search.towers.model_card import read_model_card, verify_files

    card = read_model_card(path)
    verify_files(path, card, tuple(card.files))
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return {
        "model": str(path),
        "fingerprint": card.fingerprint,
        "size_mb": round(size / 1e6, 1),
        "vocabulary_size": card.vocabulary_size,
        "tower": msgspec.to_builtins(card.tower),
        "defaults": msgspec.to_builtins(card.defaults),
    }


def inspect_index(location: str, *, verify: bool = False) -> Mapping[str, Any]:
    """Describe an index.

    :param verify: read every document and every cache and check them; the findings are raised.
    :raises CorruptIndex: if ``verify`` finds anything.
    :raises UnsupportedCapability: if ``verify`` is asked of an index on a server.
    """
    if verify:
        _verify(location)
    with contextlib.closing(open_engine(location)) as engine:
        return {
            "index": location,
            "documents": engine.count(),
            **msgspec.to_builtins(engine.settings),
            **engine.stats(),
            **({"verified": "everything is as it was written"} if verify else {}),
        }


def _verify(location: str) -> None:
    from hybrid_search.engines.embedded import EmbeddedEngine

    with EmbeddedEngine.open(folder_of(location)) as engine:
        if findings := engine.verify():
            raise CorruptIndex(f"{location}: " + "; ".join(findings))


def export_onnx(model: Path, target: Path) -> list[str]:
    """Copy the ONNX towers and the tokenizer of a checkpoint (or of an index's model folder) into a folder.

    :raises CorruptModel: if a file is not what was written.
    """
    from hybrid_search.towers.model_card import read_model_card, verify_files

    card = read_model_card(model)
    verify_files(model, card, ONNX_FILES[1:])
    with disk_errors(f"export to {target}"):
        target.mkdir(parents=True, exist_ok=True)
        for name in ONNX_FILES:
            shutil.copyfile(model / name, target / name)
    return list(ONNX_FILES)
