"""Mend an index in a folder from its documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.errors import CorruptIndex
from hybrid_search.workflows.locations import folder_of

__all__ = ["repair_index"]


def repair_index(location: str | Path) -> Mapping[str, Any]:
    """Build everything that an index in a folder has beside its documents again, and check the result.

    Nothing is encoded: the vectors are stored with the documents. No document is added, changed or removed.

    :return: the location, what was wrong with the counts, and how many documents and vectors there are.
    :raises UnsupportedCapability: for an index on a server, which has no such caches.
    :raises IndexNotFound: if there is no index.
    :raises IndexLocked: if another process is writing to it.
    :raises CorruptIndex: naming the documents that are not what was written; nothing has been changed then.
    """
    from hybrid_search.engines.embedded import EmbeddedEngine, repair

    folder = folder_of(location)
    mended = repair(folder)
    with EmbeddedEngine.open(folder, writable=True) as engine:
        if left := engine.verify():
            raise CorruptIndex(f"{location}: {'; '.join(left)}; load the data again with --recreate")
        told = engine.stats()
    return {"index": str(location), "mended": mended, "documents": told["documents"], "vectors": told["vectors"]}
