"""Models that come with the package, found by their name: folders of package data in ``hybrid_search/shipped``.

Wherever a model is named, :func:`located` decides which folder is meant.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search.towers.model_card import MODEL_FILE

__all__ = ["default_model", "located", "name_of", "shipped_models"]

_FOLDER = Path(__file__).parents[1] / "shipped"
_DEFAULT = "en"


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(file.parent.name for file in _FOLDER.glob(f"*/{MODEL_FILE}")))


def located(model: Path) -> Path:
    """Return the folder of a model that is given by its folder, or by the name of one that comes with the package.

    A folder of such a name is meant by ``./NAME``.
    """
    return _FOLDER / model if str(model) in shipped_models() else model


def name_of(folder: Path) -> str:
    """Return what to call a model: its name if it comes with the package, else its folder."""
    return folder.name if folder.parent == _FOLDER else str(folder)


def default_model() -> Path | None:
    """Return the folder of the model for an index that is loaded without one; None if none comes with the package."""
    return _FOLDER / _DEFAULT if _DEFAULT in shipped_models() else None
