"""What killed writers left in an index's folder: files that were never finished, and go when the next writer comes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.engines.embedded.model_files import recover_model
from hybrid_search.engines.embedded.own_files import remove
from hybrid_search.errors import StorageError
from hybrid_search.storage import aside_of

__all__ = ["remove_unfinished"]


def remove_unfinished(layout: Layout) -> None:
    """Remove what nobody will finish. For the holder of the writer's lock: nobody else writes such files.

    What can't be removed (a folder of another user) stays: it does no harm.
    """
    with contextlib.suppress(StorageError):
        recover_model(layout)
    for path in _unfinished(layout):
        with contextlib.suppress(OSError):
            remove(path)


def _unfinished(layout: Layout) -> Iterator[Path]:
    for part in layout.parts():
        if part.name.startswith(".") and part != aside_of(layout.model):
            yield part
    for folder in (layout.lexical, layout.forward, layout.dense):
        if folder.is_dir() and not folder.is_symlink():
            # tantivy's own file that begins with a dot, .managed.json, has no such end.
            yield from sorted(folder.glob(".*.part"))
