"""A record of what a child did to a folder: each change of a name and of a content, and what was forced to the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaign.seam.calls import BY_NUMBER
from campaign.seam.watching import Step

__all__ = ["Event", "Recording"]

_FILE_OF = {shape.name: shape.file for shape in BY_NUMBER.values()}
_AT_OFFSET = ("pwrite64", "pwritev", "pwritev2")
_SYNCING = ("fsync", "fdatasync")
_CLOSED = -1


@dataclass(frozen=True, slots=True)
class Event:
    """One change, or the forcing of what was changed before.

    :ivar kind: ``create``, ``mkdir``, ``link``, ``rename``, ``remove`` (of a name); ``write``, ``size`` (of a content);
        ``sync`` (of a file, or of a folder's names).
    :ivar thing: the number of the file or folder that is meant.
    :ivar folder: for a name: the number of its folder.
    :ivar other: for a rename: the (folder, name) before.
    :ivar at: the offset of a write, or the new size.
    :ivar acknowledged: how many operations had returned before.
    """

    kind: str
    thing: int
    acknowledged: int
    folder: int = 0
    name: str = ""
    other: tuple[int, str] = (0, "")
    at: int = 0
    data: bytes = b""
    told: str = ""


class Recording:
    """A watcher that records; numbers files and folders by the order in which they came, the root first.

    :param count: tells how many operations have returned.
    """

    def __init__(self, root: Path, count: Callable[[], int]) -> None:
        self._root = os.path.realpath(root)
        self._count = count
        self._numbers: dict[tuple[int, int], int] = {self._identity(self._root): 0}
        self._next = 1
        self._was_there = False
        self._acknowledged = 0
        self.events: list[Event] = []

    def before(self, step: Step) -> int:
        self._acknowledged = self._count()
        self._was_there = os.path.lexists(step.path)
        if step.name in ("unlink", "unlinkat", "rmdir") and self._was_there:
            self._gone = self._number(step.path)
        return 0

    def after(self, step: Step, result: int) -> int:
        if result < 0:
            return 0
        if step.name in _FILE_OF and _FILE_OF[step.name] >= 0:
            self._on_file(step, result)
        else:
            self._on_name(step)
        return 0

    def _on_name(self, step: Step) -> None:
        match step.name:
            case "open" | "openat" | "creat":
                if not self._was_there:
                    self._name("create", step, self._new(step.path))
                elif os.stat(step.path).st_size == 0:  # it may have been emptied
                    self._add("size", self._number(step.path), step)
            case "mkdir" | "mkdirat":
                self._name("mkdir", step, self._new(step.path))
            case "rename" | "renameat" | "renameat2":
                other = (self._number(os.path.dirname(step.other)), os.path.basename(step.other))
                self._name("rename", step, self._number(step.path), other)
            case "link" | "linkat":
                self._name("link", step, self._number(step.path))
            case "unlink" | "unlinkat" | "rmdir":
                self._name("remove", step, self._gone)
            case "truncate":
                self._add("size", self._number(step.path), step, at=step.arguments[1])
            case "symlink" | "symlinkat":
                raise NotImplementedError(f"no state is built with a link: {step}")

    def _on_file(self, step: Step, result: int) -> None:
        descriptor = step.arguments[_FILE_OF[step.name]]
        held = f"/proc/{step.tid}/fd/{descriptor}"
        status = os.stat(held)
        thing = self._numbers.get((status.st_dev, status.st_ino), _CLOSED)
        if step.name in _SYNCING:
            self._add("sync", thing, step)
        elif step.name in ("ftruncate", "fallocate"):
            self._add("size", thing, step, at=status.st_size)
        elif step.name != "fchmod" and result:
            at = step.arguments[3] if step.name in _AT_OFFSET else _position(step.tid, descriptor) - result
            copy = os.open(held, os.O_RDONLY)
            try:
                self._add("write", thing, step, at=at, data=os.pread(copy, result, at))
            finally:
                os.close(copy)

    def _name(self, kind: str, step: Step, thing: int, other: tuple[int, str] = (0, "")) -> None:
        folder, name = os.path.split(step.path)
        self.events.append(
            Event(kind, thing, self._acknowledged, self._number(folder), name, other, told=self._told(step))
        )

    def _add(self, kind: str, thing: int, step: Step, *, at: int = 0, data: bytes = b"") -> None:
        self.events.append(Event(kind, thing, self._acknowledged, at=at, data=data, told=self._told(step)))

    def _told(self, step: Step) -> str:
        return str(step).replace(f"{self._root}/", "")

    def _identity(self, path: str) -> tuple[int, int]:
        status = os.lstat(path)
        return status.st_dev, status.st_ino

    def _number(self, path: str) -> int:
        return self._numbers[self._identity(path)]

    def _new(self, path: str) -> int:
        """Number what was just made; the system may have given it the identity of something that is gone."""
        self._numbers[self._identity(path)] = self._next
        self._next += 1
        return self._next - 1


def _position(tid: int, descriptor: int) -> int:
    with open(f"/proc/{tid}/fdinfo/{descriptor}") as file:
        return int(file.readline().split()[1])
