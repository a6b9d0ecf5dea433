"""Say what an index or a model is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import CorruptIndex, ModelError
from hybrid_search.opening import folder_of, is_on_server, open_engine
from hybrid_search.protocols import Engine
from hybrid_search.towers.coverage import of_index

__all__ = ["inspect_index", "inspect_model", "is_model"]

_VERIFIED = ("everything is as it was written", "its towers are as they were stored")


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
        **_told_by_training(path),
    }


def _told_by_training(folder: Path) -> dict[str, Any]:
    """Return what training saw of the documents: how many are longer than the towers read, and the like."""
    with contextlib.suppress(OSError, RecursionError, msgspec.MsgspecError):
        told = msgspec.json.decode((folder / "training.json").read_bytes(), type=dict[str, Any])
        return {"read_by_towers": told["read_by_towers"]} if "read_by_towers" in told else {}
    return {}


def inspect_index(location: str, *, verify: bool = False) -> Mapping[str, Any]:
    """Describe an index.

    :param verify: read every document, every cache and the stored model and check them, before anything is repaired.
        Of an index on a server it is what a server does not see to itself: the stored towers, and that there are some.
    :raises CorruptIndex: if ``verify`` finds anything.
    """
    if verify:
        _verify(location)
    with contextlib.closing(open_engine(location)) as engine:
        return {
            "index": location,
            "documents": engine.count(),
            **_towers(location, engine),
            **msgspec.to_builtins(engine.settings),
            **engine.stats(),
            **({"verified": _VERIFIED[is_on_server(location)]} if verify else {}),
            **of_index(engine),
        }


def _towers(location: str, engine: Engine) -> Mapping[str, str]:
    """Say of an index of vectors in a folder whether its towers are there; a server's would have to be fetched."""
    if is_on_server(location) or not engine.settings.dimension:
        return {}
    return {"towers": "stored" if engine.model_folder() else "missing: only mode bm25 works without a model given"}


def _verify(location: str) -> None:
    if is_on_server(location):
        _verify_on_server(location)
        return
    from hybrid_search.engines.embedded import damage
    from hybrid_search.engines.embedded.layout import Layout

    folder = folder_of(location)
    findings = [*damage(folder), *(_gone(location, Layout(folder).model) or _model_damage(Layout(folder).model))]
    if findings:
        raise CorruptIndex(f"{location}: " + "; ".join(findings))


def _verify_on_server(location: str) -> None:
    with contextlib.closing(open_engine(location)) as engine:
        fingerprint = engine.settings.fingerprint if engine.settings.dimension else ""
        try:
            folder = engine.model_folder() if fingerprint else None
        except ModelError as error:
            raise CorruptIndex(f"{location}: {error}") from error
    if not fingerprint:
        return
    findings = ["the towers that made its vectors are not on the server; load once more with --model"]
    if folder is not None:
        findings = _model_damage(folder)
    if findings:
        raise CorruptIndex(f"{location}: " + "; ".join(findings))


def _gone(location: str, folder: Path) -> list[str]:
    """Tell of the towers of an index of vectors that are not there any more."""
    if folder.exists():
        return []
    try:
        with contextlib.closing(open_engine(location)) as engine:
            settings = engine.settings
    except CorruptIndex:  # which has been told
        return []
    if not settings.dimension:
        return []
    return [
        f"{folder} is missing: the towers of model {settings.fingerprint}, which made the index's vectors; put "
        f"them back from a backup, or load the data again with --recreate and --model"
    ]


def _model_damage(folder: Path) -> list[str]:
    """Check the towers that an index carries; none are there in an index of texts."""
    from hybrid_search.towers.model_card import SERVING_FILES, read_model_card, verify_files

    if not folder.exists():
        return []
    try:
        verify_files(folder, read_model_card(folder), SERVING_FILES)
    except ModelError as error:
        return [f"{error}; or load the data again with --recreate and --model"]
    return []
