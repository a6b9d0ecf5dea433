"""Describes and verifies a model, or an index with its stored model."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hybrid_search.analysis import language_of
from hybrid_search.errors import CorruptIndex, ModelError
from hybrid_search.opening import folder_of, is_on_server, open_engine
from hybrid_search.protocols import Engine
from hybrid_search.towers.coverage import of_index

if TYPE_CHECKING:
    from hybrid_search.engines.embedded.store.layout import Layout

__all__ = ["inspect_index", "inspect_model", "is_model"]

_VERIFIED = ("everything is as it was written", "its towers are as they were stored")


def is_model(path: Path) -> bool:
    """Return whether a folder is a checkpoint (and not an index)."""
    return (path / "model.json").is_file()


def inspect_model(path: Path) -> Mapping[str, Any]:
    """Describe a checkpoint, after comparing all its files with their recorded hashes.

    :raises ModelNotFound: if there is no checkpoint.
    :raises CorruptModel: if a file is missing or changed.
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
        "parameters": _parameters(path),
        **_training_report(path),
        **({"training_seconds": card.training_seconds} if card.training_seconds else {}),
        **({"validation": card.measured} if card.measured else {}),
        **({"parents": list(card.parents)} if card.parents else {}),
        **({"old_validation": card.old_validation} if card.old_validation else {}),
        "tower": msgspec.to_builtins(card.tower),
        "defaults": msgspec.to_builtins(card.defaults),
    }


def _parameters(folder: Path) -> dict[str, int]:
    """Count the stored weights, where the training did not tell: all, and of these the word vectors."""
    from safetensors import safe_open

    with safe_open(folder / "weights.safetensors", framework="numpy") as file:
        sizes = {
            name: prod(file.get_slice(name).get_shape()) for name in sorted(file.keys()) if not name.endswith("step")
        }
    words = (size for name, size in sizes.items() if name.endswith(("embedding.weight", "shift.weight")))
    return {"all": sum(sizes.values()), "word_vectors": sum(words)}


def _training_report(folder: Path) -> dict[str, Any]:
    """Return what it was trained on, what of the documents the towers read, and whether in order, as far as known."""
    with contextlib.suppress(OSError, RecursionError, msgspec.MsgspecError):
        report = msgspec.json.decode((folder / "training.json").read_bytes(), type=dict[str, Any])
        names = ("parameters", "data_set", "split", "teacher", "read_by_towers", "cosine_to_shuffled")
        return {name: report[name] for name in names if report.get(name)}
    return {}


def inspect_index(location: str, *, verify: bool = False) -> Mapping[str, Any]:
    """Describe an index.

    :param verify: first check every document, every cache and the stored model, without repairing anything; for an
        index on a server, only that its towers are stored and undamaged.
    :raises CorruptIndex: if ``verify`` finds damage.
    """
    if verify:
        _verify(location)
    with contextlib.closing(open_engine(location)) as engine:
        return {
            "index": location,
            "documents": engine.count(),
            **_towers(location, engine),
            **msgspec.to_builtins(engine.settings),
            "language": language_of(engine.settings.analyzer),
            **engine.stats(),
            **({"verified": _VERIFIED[is_on_server(location)]} if verify else {}),
            **of_index(engine),
        }


def _towers(location: str, engine: Engine) -> Mapping[str, str]:
    """Return whether an index has its towers; those on a server would have to be downloaded to know."""
    if not engine.settings.dimension:
        return {"towers": "none: an index of texts, which BM25 alone searches"}
    if is_on_server(location):
        return {}
    return {"towers": "stored" if engine.model_folder() else "missing: only mode bm25 works without a model given"}


def _verify(location: str) -> None:
    if is_on_server(location):
        _verify_on_server(location)
        return
    from hybrid_search.engines.embedded import damage
    from hybrid_search.engines.embedded.store.layout import Layout

    folder = folder_of(location)
    if findings := [*damage(folder), *_model_findings(location, Layout(folder))]:
        raise CorruptIndex(f"{location}: " + "; ".join(findings))


def _model_findings(location: str, layout: Layout) -> list[str]:
    """Check the model of an index in a folder, which must be its own: nothing is read through a link."""
    from hybrid_search.engines.embedded.store.own_files import model_folder

    try:
        model = model_folder(layout)
    except CorruptIndex as error:
        return [str(error)]
    return _gone(location, layout.model) if model is None else _model_damage(model)


def _verify_on_server(location: str) -> None:
    with contextlib.closing(open_engine(location)) as engine:
        fingerprint = engine.settings.fingerprint if engine.settings.dimension else ""
        try:
            folder = engine.model_folder() if fingerprint else None
        except ModelError as error:
            raise CorruptIndex(f"{location}: {error}") from error
    if not fingerprint:
        return
    findings = ["the towers that made its vectors are not on the server; load once more with model=PATH"]
    if folder is not None:
        findings = _model_damage(folder)
    if findings:
        raise CorruptIndex(f"{location}: " + "; ".join(findings))


def _gone(location: str, folder: Path) -> list[str]:
    """Return a finding if an index of vectors has no model folder."""
    if folder.exists():
        return []
    try:
        with contextlib.closing(open_engine(location)) as engine:
            settings = engine.settings
    except CorruptIndex:  # reported by the check of the index
        return []
    if not settings.dimension:
        return []
    return [
        f"{folder} is missing: the towers of model {settings.fingerprint}, which made the index's vectors; put "
        f"them back from a backup, or load the data again with recreate=True and model=PATH"
    ]


def _model_damage(folder: Path) -> list[str]:
    """Return a finding if the model of an index is damaged; an index of texts has none."""
    from hybrid_search.towers.model_card import read_model_card, verify_files

    if not folder.exists():
        return []
    try:
        verify_files(folder, card := read_model_card(folder), card.served)
    except ModelError as error:
        return [f"{error}; or load the data again with recreate=True and model=PATH"]
    return []
