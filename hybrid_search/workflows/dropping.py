"""Delete an index, wherever it is."""

from __future__ import annotations

from contextlib import closing

from hybrid_search.errors import CorruptIndex, IndexNotFound
from hybrid_search.workflows.locations import drop_index, index_exists, is_on_server, open_engine

__all__ = ["drop", "to_be_dropped"]


def to_be_dropped(location: str, *, also_live: bool = False) -> str:
    """Say what would be deleted, for a person to read.

    :param also_live: even if an alias stands for it; the alias goes with it.
    :raises IndexNotFound: if there is nothing.
    :raises UsageError: if the location is an alias's.
    :raises SearchIndexError: if it is live, or was made by something else.
    """
    if is_on_server(location):
        from hybrid_search.engines.opensearch.address import Address
        from hybrid_search.workflows.server_indexes import droppable

        one = droppable(Address.parse(location), also_live=also_live)
        live = f" and the alias {', '.join(one.aliases)}" if one.aliases else ""
        return f"{location} with {one.documents:,} documents{live}"
    if not index_exists(location):
        raise IndexNotFound(f"{location}: there is no index; check the path")
    try:
        with closing(open_engine(location)) as engine:
            return f"{location} with {engine.count():,} documents"
    except CorruptIndex:
        return f"{location}, which is damaged,"


def drop(location: str) -> None:
    """Delete an index; on a server its towers too, unless another index shares them.

    Call :func:`to_be_dropped` first, which refuses what should not be.

    :raises IndexLocked: if another process is writing to the folder.
    :raises UsageError: if the location is an alias's.
    :raises SearchIndexError: if the index was made by something else.
    """
    drop_index(location)
