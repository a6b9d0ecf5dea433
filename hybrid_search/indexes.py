"""Operations on indexes: list those of a server, roll back, repair, drop, delete documents."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_search.engines.documents import ids_of
from hybrid_search.engines.opensearch.index import (
    ServerIndex,
    find_deployment,
    list_indexes,
    live_index,
    note_live,
    resolve,
    swap,
)
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.engines.opensearch.writing import REFRESH
from hybrid_search.errors import CorruptIndex, IndexNotFound, SearchIndexError, UsageError
from hybrid_search.indexing import with_passages
from hybrid_search.location import Address
from hybrid_search.opening import drop_index, folder_of, index_exists, is_on_server, open_engine
from hybrid_search.passages import OF, document_of
from hybrid_search.streams import in_batches
from hybrid_search.types import Document

_log = logging.getLogger(__name__)

__all__ = [
    "Deletion",
    "Rollback",
    "backup",
    "count_documents",
    "delete_documents",
    "documents_of",
    "drop",
    "droppable",
    "indexes_on",
    "repair_index",
    "restore",
    "roll_back",
    "to_be_dropped",
]

BATCH = 1_000
"""Number of documents per deletion."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """The result of a rollback: the alias now stands for ``index``."""

    alias: str
    index: str
    replaced: str
    fingerprint: str
    documents: int


def indexes_on(location: str) -> list[ServerIndex]:
    """List a server's indexes that this package made; for the location of an index or alias, only those related to it.

    :raises SearchIndexError: if the server can't be reached.
    """
    address = Address.parse_server(location)
    with closing(Client(address)) as client:
        found = list_indexes(client)
    name = address.index
    return [one for one in found if not name or name in (one.name, one.mark and one.mark.alias, *one.aliases)]


def roll_back(address: Address, to: str | None = None) -> Rollback:
    """Move an alias back to the index that was live before, or to a given one.

    Each index records which indexes were live before it, so another rollback goes back further.

    :param to: a finished index, for example to go forward again.
    :raises IndexNotFound: if there is no such alias, or no index ``to``.
    :raises SearchIndexError: if there is no index to go back to, or it is unfit to be live, or towers are deployed in
        the cluster for the current index but not for it.
    """
    alias = address.index
    with closing(Client(address)) as client:
        live = live_index(client, alias)
        if live is None:
            raise IndexNotFound(f"{address}: no such alias; look at hybrid-search indexes {address.at_server()}")
        indexes = {one.name: one for one in list_indexes(client)}
        target = _named(indexes, to, live) if to else _before(indexes, live, alias)
        if find_deployment(client, live) and not find_deployment(client, target.name):
            raise SearchIndexError(
                f"{live} has its towers in the cluster and {target.name} has not, so searches by text would fail; "
                f"deploy them first: hybrid-search deploy --to {address.at(target.name)}"
            )
        # Recorded before the alias moves: if this is killed in between, the index must not look as if never live.
        if live in indexes:
            note_live(client, live)
        swap(client, alias, live, target.name)
    return Rollback(alias, target.name, live, target.fingerprint, target.documents)


def _named(indexes: Mapping[str, ServerIndex], to: str, live: str) -> ServerIndex:
    if to not in indexes:
        raise IndexNotFound(f"{to}: no such index of hybrid-search; there are {', '.join(indexes)}")
    if to == live:
        raise UsageError(f"{to} is live already")
    if why := _unfit(indexes[to]):
        raise SearchIndexError(f"{to} {why}, so it can't go live; choose another index, or load again")
    return indexes[to]


def _before(indexes: Mapping[str, ServerIndex], live: str, alias: str) -> ServerIndex:
    mark = indexes[live].mark if live in indexes else None
    history = mark.history if mark else ()
    for name in history:
        if name in indexes and not _unfit(indexes[name]):
            return indexes[name]
    gone = f"; {', '.join(history)} went before it, and none of them can be used any more" if history else ""
    raise SearchIndexError(f"nothing to roll back to: {live} is the first index that was live as {alias}{gone}")


def _unfit(one: ServerIndex) -> str:
    """Return why an index can't be live; empty if it can."""
    if not one.is_open:
        return "is closed"
    if one.health == "red":
        return "has shards that are lost"
    if one.mark is not None and one.mark.state != "ready":
        return "failed its checks" if one.mark.state == "failed" else "is unfinished"
    return ""


def droppable(address: Address, *, also_live: bool = False) -> ServerIndex:
    """Check that an index may be deleted, and return it.

    :param also_live: even if an alias stands for it.
    :raises IndexNotFound: if there is none.
    :raises UsageError: if the address is an alias.
    :raises SearchIndexError: if it is live, or was made by something else.
    """
    with closing(Client(address)) as client:
        if (name := resolve(client, address).address.index) != address.index:
            raise UsageError(f"{address} is an alias of {name}; name the index that is meant")
        found = {one.name: one for one in list_indexes(client)}.get(name)
    if found is None:
        raise SearchIndexError(f"{address}: this index was not made by hybrid-search, so it is left alone")
    if found.aliases and not also_live:
        raise SearchIndexError(
            f"{name} is live as {', '.join(found.aliases)}; roll back first, or drop both with also_live=True"
        )
    return found


def to_be_dropped(location: str, *, also_live: bool = False) -> str:
    """Describe what would be deleted, for display.

    :param also_live: even if an alias stands for it; the alias goes with it.
    :raises IndexNotFound: if there is no index.
    :raises UsageError: if the location is an alias.
    :raises SearchIndexError: if it is live, or was made by something else.
    """
    if is_on_server(location):
        from hybrid_search.indexes import droppable
        from hybrid_search.location import Address

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
    """Delete an index; on a server its towers too, unless another index uses them.

    Call :func:`to_be_dropped` first, which refuses live indexes and others that must stay.

    :raises IndexLocked: if another process is writing to the folder.
    :raises UsageError: if the location is an alias.
    :raises SearchIndexError: if the index was made by something else.
    """
    drop_index(location)


def repair_index(location: str | Path) -> Mapping[str, Any]:
    """Rebuild everything in an index's folder except for its documents, and check the result.

    Nothing is encoded: the vectors are stored with the documents, none of which is changed.

    :return: the location, the wrong counts that were found, and the numbers of documents and vectors.
    :raises UnsupportedCapability: for an index on a server, which has no such caches.
    :raises IndexNotFound: if there is no index.
    :raises IndexLocked: if another process is writing to it.
    :raises CorruptIndex: names the damaged documents; nothing has been changed then.
    """
    from hybrid_search.engines.embedded import EmbeddedEngine, repair

    folder = folder_of(location)
    mended = repair(folder)
    with EmbeddedEngine.open(folder, writable=True) as engine:
        if left := engine.verify():
            raise CorruptIndex(f"{location}: {'; '.join(left)}; load the data again with recreate=True")
        stats = engine.stats()
    return {"index": str(location), "mended": mended, "documents": stats["documents"], "vectors": stats["vectors"]}


def backup(location: str | Path, to: str | Path) -> int:
    """Copy an index in a folder as it is at one moment, while others use it; return the number of documents.

    :param to: a new folder; the copy is an index itself.
    :raises UnsupportedCapability: for an index on a server, which has snapshots of its own.
    :raises HybridSearchError: as :func:`~hybrid_search.engines.embedded.copying.copy_index`.
    """
    from hybrid_search.engines.embedded.copying import copy_index

    return copy_index(folder_of(location), folder_of(to))


def restore(copy: str | Path, location: str | Path) -> int:
    """Put a copy in the place of an index, or where there is none; return the number of documents.

    :raises UnsupportedCapability: for an index on a server.
    :raises HybridSearchError: as :func:`~hybrid_search.engines.embedded.copying.put_back`; the index is as it was.
    """
    from hybrid_search.engines.embedded.copying import put_back

    return put_back(folder_of(copy), folder_of(location))


def documents_of(location: str, ids: Iterable[str]) -> dict[str, list[Document]]:
    """Return id -> its document, or its passages in an index of passages; none for an unknown id.

    :raises UsageError: if an id is invalid.
    :raises IndexNotFound: if there is no index.
    """
    distinct = ids_of(list(dict.fromkeys(ids)))
    with closing(open_engine(location)) as engine:
        meant = with_passages(engine, distinct)
        return {id: [one for one in engine.get(all_ids) if one is not None] for id, all_ids in meant.items()}


def count_documents(location: str) -> dict[str, int]:
    """Count an index's documents; of one of passages also these. A warning is logged where some may not count yet.

    :raises IndexNotFound: if there is no index.
    """
    if is_on_server(location):
        _warn_if_unrefreshed(Address.parse(location))
    with closing(open_engine(location)) as engine:
        if OF not in engine.settings.fields:
            return {"documents": engine.count()}
        documents = len({document_of(one.id) for one in engine.documents()})
        return {"documents": documents, "passages": engine.count()}


def _warn_if_unrefreshed(address: Address) -> None:
    """Warn of an index that does not refresh: what it has acknowledged since the last commit is not counted."""
    with closing(Client(address)) as client:
        found = client.call("GET", f"/{address.index}/_settings/{REFRESH}", flat_settings="true", ignore=404)
    if any(one.get("settings", {}).get(REFRESH) == "-1" for one in found.values() if isinstance(one, dict)):
        _log.warning(
            "%s: its refreshing is off, as in a load: documents that it has acknowledged since the last commit are not "
            "counted. If no load is running, one was killed: do it again with resume=True", address,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deletion:
    """The result of deleting documents.

    :ivar not_there: the distinct ids without a document.
    :ivar documents: number of documents in the index now.
    """

    location: str
    deleted: int
    not_there: list[str]
    documents: int


def delete_documents(location: str, ids: Iterable[str]) -> Deletion:
    """Delete documents by id, with all their passages, and commit.

    :raises UsageError: if an id is invalid; nothing was deleted then.
    :raises IndexNotFound: if there is no index.
    :raises IndexLocked: if another process is writing to the folder.
    """
    distinct = ids_of(list(dict.fromkeys(ids)))
    deleted, not_there = 0, list[str]()
    with closing(open_engine(location, writable=True)) as engine:
        for batch in in_batches(distinct, BATCH):
            meant = with_passages(engine, batch)
            found = engine.get(batch)
            there = [id for id, known in zip(batch, found, strict=True) if known is not None or len(meant[id]) > 1]
            not_there += [id for id in batch if id not in set(there)]
            deleted += len(there)
            engine.delete([one for id in there for one in meant[id]])
        engine.commit()
        return Deletion(location, deleted, not_there, engine.count())
