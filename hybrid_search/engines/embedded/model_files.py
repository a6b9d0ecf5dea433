"""The towers' serving files inside an index."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.storage import disk_errors, recover_folder, replace_folder

__all__ = ["copy_model", "model_folder"]


def copy_model(layout: Layout, files: Sequence[Path]) -> None:
    """Copy files into the index's model folder, replacing what was there in one step.

    :raises StorageError: if they can't be copied; what was there stays.
    """
    with disk_errors(f"copying the model into {layout.folder}"):
        new = Path(tempfile.mkdtemp(prefix=f".{layout.model.name}.", dir=layout.folder))
        try:
            for file in files:
                shutil.copyfile(file, new / file.name)
            new.chmod(layout.folder.stat().st_mode & 0o777)  # mkdtemp's folders are for their owner only
            replace_folder(new, layout.model)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def model_folder(layout: Layout) -> Path | None:
    """Return the model folder, None when no model is stored."""
    if not layout.model.is_dir():
        recover_folder(layout.model)
    return layout.model if layout.model.is_dir() else None
