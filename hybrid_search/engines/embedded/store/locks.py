"""Locks: one writer among processes; among threads, many searches or one refresh."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import PurePath

import filelock

from hybrid_search.engines.embedded.store.layout import Layout
from hybrid_search.engines.embedded.store.own_files import check_own, read_own
from hybrid_search.errors import CorruptIndex, IndexLocked, StorageError
from hybrid_search.storage import atomic_write_bytes

__all__ = ["WriterLock", "nobody_writes"]

_WRITING = "writing"
_CHECKING = "checking and repairing"
_PATIENCE = 30.0
_POLL = 0.05
_MOST_OWNER = 1 << 16


class WriterLock:
    """The exclusive right to change an index. The system releases it when the process ends, so none becomes stale."""

    def __init__(self, lock: filelock.FileLock, layout: Layout) -> None:
        self._lock = lock
        self._layout = layout

    @classmethod
    def for_writing(cls, layout: Layout) -> WriterLock:
        """Take the lock to write. Waits for a process that checks the index, but not for another writer.

        :raises IndexLocked: naming the process that writes.
        :raises StorageError: if the folder can't be written to.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            if (lock := cls._try(layout, _WRITING)) is not None:
                return lock
            owner = _owner(layout)
            if owner.get("purpose") == _WRITING or time.monotonic() > deadline:
                raise IndexLocked(f"{layout.folder}: {_described(owner)}; wait until it is done, or stop it")
            time.sleep(_POLL)

    @classmethod
    def for_checking(cls, layout: Layout, *, patience: float = 0.0) -> WriterLock | None:
        """Take the lock to check and repair; None if another process has it or the folder is read-only.

        :param patience: seconds to wait for a process that is checking, too.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                lock = cls._try(layout, _CHECKING)
            except StorageError:
                return None
            if lock is not None or time.monotonic() > deadline or _owner(layout).get("purpose") == _WRITING:
                return lock
            time.sleep(_POLL)

    @classmethod
    def _try(cls, layout: Layout, purpose: str) -> WriterLock | None:
        check_own(layout)  # if the lock's file is a link, locking would truncate its target
        # Not bound to this thread, which is the default: another thread may close the index.
        lock = filelock.FileLock(layout.lock, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            return None
        except OSError as error:
            raise StorageError(f"locking {layout.lock}: {error.strerror}; check the folder's permissions") from error
        owner = {
            "purpose": purpose,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": _command(),
        }
        try:
            atomic_write_bytes(layout.owner, json.dumps(owner).encode())
        except BaseException:
            lock.release()
            raise
        return cls(lock, layout)

    def release(self) -> None:
        """Release the lock; calling this again is harmless."""
        if self._lock.is_locked:
            # A full disk or a removed folder must not keep the lock from being released. The folder may be
            # another process's by now, if an index that was built beside it has replaced it.
            if _owner(self._layout).get("pid") == os.getpid():
                with contextlib.suppress(OSError):
                    self._layout.owner.unlink(missing_ok=True)
            self._lock.release()


@contextlib.contextmanager
def nobody_writes(layout: Layout) -> Iterator[bool]:
    """Yield whether no process writes to a folder; none can begin to until the block ends."""
    lock = filelock.FileLock(layout.lock, timeout=0, thread_local=False)
    try:
        check_own(layout)
        lock.acquire()
    except (filelock.Timeout, OSError, CorruptIndex):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _command() -> str:
    """Return what this process is called by: of our own commands the name and the verb, else the program's name."""
    program, first = PurePath(sys.argv[0] if sys.argv else ""), "".join(sys.argv[1:2])
    if program.parts[-2:] == ("service", "worker.py"):
        return "hybrid-search serve"
    if program.stem != "hybrid-search" and program.parts[-2:] != ("hybrid_search", "__main__.py"):
        return program.name
    return f"hybrid-search {first}" if first.replace("-", "").isalpha() and first[0] != "-" else "hybrid-search"


def _owner(layout: Layout) -> dict[str, object]:
    try:
        owner = json.loads(read_own(layout.owner, _MOST_OWNER))
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _described(owner: dict[str, object]) -> str:
    if not owner:
        return "another process is writing to this index"
    return (
        f"process {owner.get('pid')} on {owner.get('host')} ({owner.get('command') or 'unnamed'}) has been "
        f"{owner.get('purpose')} since {owner.get('since')}"
    )
