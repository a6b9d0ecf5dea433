"""Records the progress of a load into a server in a small local file, for the next run to continue from."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import filelock
import msgspec

from hybrid_search.engines.documents import as_stored
from hybrid_search.errors import DataError, IndexLocked, StorageError, UsageError
from hybrid_search.protocols import Engine
from hybrid_search.storage import atomic_write_bytes, cache_folder, disk_errors
from hybrid_search.types import Document, can_be_held

__all__ = ["Digest", "Entry", "Journal", "not_yet_there"]


FORMAT_VERSION = 1

_SECONDS_BETWEEN_ENTRIES = 0.5


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a load.

    :ivar index: the index's uuid on the server; a later index of the same name has another.
    :ivar documents: number of documents, from the data set's first on, that the server accepted or rejected.
    :ivar digest: hash of these documents.
    :ivar checked: whether the load compares documents with those that were in the index before.
    """

    format_version: int = FORMAT_VERSION
    location: str
    dataset: str
    index: str
    documents: int = 0
    digest: str = ""
    added: int = 0
    unchanged: int = 0
    rejected: int = 0
    checked: bool = False


class Digest:
    """A hash of a sequence of documents."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, document: Document) -> None:
        """Add a document to the hash."""
        metadata = sorted(document.metadata.items()) if document.metadata else ""
        parts = (document.id, document.title, document.text, repr(metadata))
        self._hash.update("\0".join([*parts, ""]).encode("utf-8", "surrogatepass"))

    @property
    def value(self) -> str:
        """The hash of the documents added so far."""
        return self._hash.hexdigest()


class Journal:
    """The journal of loading one data set into one location; removed when the load succeeds.

    :param dataset: the data set's name and location.
    """

    def __init__(self, location: str, dataset: str) -> None:
        self._location, self._dataset = location, dataset
        name = hashlib.sha256(f"{location}\0{dataset}".encode()).hexdigest()[:16]
        self.path = cache_folder("loads") / f"{name}.json"
        self._written = 0.0

    @contextlib.contextmanager
    def locked(self) -> Iterator[Self]:
        """Exclude other processes of this machine from the same load.

        :raises IndexLocked: if another process is running it.
        """
        folder = self.path.parent
        with disk_errors(f"making {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path.with_suffix(".lock"), timeout=0)
        try:
            with _alone(folder):
                _sweep(folder)
                lock.acquire()
        except filelock.Timeout:
            raise IndexLocked(f"{self._location}: another process is loading this data set into it; wait") from None
        except OSError as error:
            raise StorageError(f"locking {lock.lock_file}: {error.strerror}; check the permissions") from error
        try:
            yield self
        finally:
            with contextlib.suppress(OSError), _alone(folder):
                _remove(lock)
            lock.release()

    def read(self) -> Entry | None:
        """Return the last entry; None if there is none.

        :raises UsageError: if it can't be read, or has another version.
        """
        if not self.path.exists():
            return None
        remedy = "load without `resume`, which compares what is there"
        with disk_errors(f"reading {self.path}"):
            data = self.path.read_bytes()
        try:
            entry = msgspec.json.decode(data, type=Entry)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(f"the journal {self.path} can't be read ({error}); {remedy}") from error
        if entry.format_version != FORMAT_VERSION:
            raise UsageError(
                f"the journal {self.path} has format {entry.format_version}, not {FORMAT_VERSION}; {remedy}"
            )
        return entry

    def resumed(self, index: str) -> Entry | None:
        """Return the entry to continue from; None if there is no journal.

        :param index: uuid of the index at the location.
        :raises UsageError: if the journal belongs to an index that no longer exists, or can't be read.
        """
        entry = self.read()
        if entry is not None and entry.index != index:
            raise UsageError(
                f"the journal {self.path} is of an index {self._location} that is gone, another has its name; "
                f"load without `resume`"
            )
        return entry

    def begun(self, index: str, *, checked: bool) -> Entry:
        """Return the first entry of a new load."""
        return Entry(location=self._location, dataset=self._dataset, index=index, checked=checked)

    def write(self, entry: Entry, *, now: bool = False) -> None:
        """Write an entry; entries that follow too quickly are skipped, unless ``now``.

        :raises StorageError: if the file can't be written.
        """
        if now or time.monotonic() - self._written >= _SECONDS_BETWEEN_ENTRIES:
            atomic_write_bytes(self.path, msgspec.json.encode(entry))
            self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the journal of a finished load."""
        with disk_errors(f"removing {self.path}"):
            self.path.unlink(missing_ok=True)

    def check_same(self, entry: Entry, seen: int, digest: Digest) -> None:
        """Check that the data set still begins with the documents that were loaded.

        :param seen: number of these documents that the data set has.
        :raises DataError: if it does not.
        """
        if seen != entry.documents or digest.value != entry.digest:
            raise DataError(
                f"{self._dataset}: its first {entry.documents:,} documents are not those that were loaded (journal "
                f"{self.path}); load without `resume`, which compares each with what is there"
            )


def _alone(folder: Path) -> filelock.BaseFileLock:
    """Take the one permanent lock, which every process holds for a moment to create or remove another lock.

    Otherwise a lock's file could be removed between opening and locking it, and would exclude nobody.
    """
    return filelock.FileLock(folder / "guard.lock")


def _sweep(folder: Path) -> None:
    """Remove the locks of killed loads that left no journal."""
    for file in folder.glob("*.lock"):
        if file.name != "guard.lock" and not file.with_suffix(".json").exists():
            lock = filelock.FileLock(file, timeout=0)
            with contextlib.suppress(filelock.Timeout, OSError):
                lock.acquire()
                _remove(lock)


def _remove(lock: filelock.BaseFileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def not_yet_there(engine: Engine, documents: Sequence[Document]) -> list[Document]:
    """Return the documents that are missing in the index, or have other content there."""
    # One with an id that none can have is missing too: to ask for it would end the load, to add it rejects it alone.
    asked = [one.id for one in documents if isinstance(one.id, str) and can_be_held(one.id)]
    stored = dict(zip(asked, engine.get(asked), strict=True))
    fields = engine.settings.fields
    return [one for one in documents if not isinstance(one.id, str) or stored.get(one.id) != as_stored(one, fields)]
