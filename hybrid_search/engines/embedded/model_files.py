"""The towers' serving files inside an index."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.engines.embedded.own_files import foreign, is_plain
from hybrid_search.errors import CorruptIndex, CorruptModel
from hybrid_search.storage import disk_errors, recover_folder, replace_folder

__all__ = ["copy_model", "model_folder", "recover_model"]


def copy_model(layout: Layout, files: Sequence[Path]) -> None:
    """Copy files into the index's model folder, replacing what was there in one step.

    :raises CorruptModel: if one is no plain file: what a link stands for is nothing to be handed on.
    :raises StorageError: if they can't be copied; what was there stays.
    """
    for file in files:
        if file.is_symlink() or (file.exists() and not is_plain(file)):
            raise CorruptModel(f"{file} is no plain file of the model; copy the model with `cp -rL` and give the copy")
    with disk_errors(f"copying the model into {layout.folder}"):
        new = Path(tempfile.mkdtemp(prefix=f".{layout.model.name}.", dir=layout.folder))
        try:
            for file in files:
                shutil.copyfile(file, new / file.name)
            new.chmod(layout.folder.stat().st_mode & 0o777)  # mkdtemp's folders are for their owner only
            replace_folder(new, layout.model)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def recover_model(layout: Layout) -> None:
    """Put a model back that a crash left between the two renames. For the holder of the writer's lock.

    :raises StorageError: if it can't be moved.
    """
    recover_folder(layout.model)


def model_folder(layout: Layout) -> Path | None:
    """Return the model folder, None when no model is stored.

    :raises CorruptIndex: if it is a link, or holds anything but plain files.
    """
    if found := foreign(layout.model):
        raise CorruptIndex(f"{found[0]}; load the data again with --recreate and --model, or restore it from a backup")
    return layout.model if layout.model.is_dir() else None
