"""Checksums over the whole index: the database's seal, and how much is checked at opening."""

from __future__ import annotations

from hybrid_search.engines.embedded.layout import Layout
from hybrid_search.engines.embedded.manifest import Manifest, listed
from hybrid_search.engines.embedded.store import Store
from hybrid_search.engines.embedded.verify import damaged_documents
from hybrid_search.errors import CorruptIndex, HybridSearchError
from hybrid_search.storage import disk_errors

__all__ = ["break_seal", "check_seal", "is_small", "seal"]

_SMALL = 512 << 20


def is_small(layout: Layout) -> bool:
    """Return whether the index is small enough (512 MiB) for every byte to be checked at opening."""
    return sum(path.stat().st_size for path in layout.folder.rglob("*") if path.is_file()) <= _SMALL


def seal(layout: Layout) -> None:
    """Record the database's size and checksum. Only right when its log is folded in and nobody writes.

    :raises StorageError: if the record can't be written.
    """
    with disk_errors(f"sealing {layout.database}"):
        Manifest(files=listed(layout.folder, [layout.database.name])).write(layout.folder)


def break_seal(layout: Layout) -> None:
    """Take the record away, before anything changes.

    :raises StorageError: if it can't be removed.
    """
    with disk_errors(f"unsealing {layout.database}"):
        layout.seal.unlink(missing_ok=True)


def check_seal(layout: Layout, *, contents: bool) -> None:
    """Compare the database with its record. Without a record (the last writer was killed) SQLite's own care has to do.

    :raises CorruptIndex: if it is not what was written, naming the damaged documents where they can be found.
    """
    manifest = Manifest.read(layout.folder)
    problems = manifest.problems(layout.folder, contents=contents) if manifest else []
    if problems:
        raise CorruptIndex(f"{problems[0]}; {_damage(layout)}; restore it from a backup, or load the data again")


def _damage(layout: Layout) -> str:
    try:
        store = Store.open(layout, writable=False)
        try:
            found = damaged_documents(store)
        finally:
            store.database.close()
    except HybridSearchError as error:
        return str(error)
    return "; ".join(found) or "the documents themselves read well, so the damage is in an index or a free page"
