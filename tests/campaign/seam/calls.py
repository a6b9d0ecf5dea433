"""The system calls that change a disk or send to a server: their numbers, and where each names a file."""

from __future__ import annotations

import platform
from dataclasses import dataclass

__all__ = ["ARCHITECTURE", "BY_NUMBER", "OPEN_TO_CHANGE", "Shape", "is_known_here"]

OPEN_TO_CHANGE = 0o1103
"""Of ``open``'s flags: to write, to read and write, to create, to truncate."""

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ARCHITECTURE = _MACHINES.get(platform.machine(), 0)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a call names what it changes.

    :ivar file: the argument that is an open file; -1 where there is none.
    :ivar paths: (argument of the folder that a path begins at or -1, argument of the path), the changed one first.
    :ivar flags: the argument of ``open``'s flags; -1 where there are none.
    """

    name: str
    file: int = -1
    paths: tuple[tuple[int, int], ...] = ()
    flags: int = -1


def _on_files(**numbers: tuple[int, int]) -> list[tuple[Shape, tuple[int, int]]]:
    return [(Shape(name, file=0), of) for name, of in numbers.items()]


_SHAPES: list[tuple[Shape, tuple[int, int]]] = [
    *_on_files(
        write=(1, 64), pwrite64=(18, 68), writev=(20, 66), pwritev=(296, 70), pwritev2=(328, 287),
        ftruncate=(77, 46), fallocate=(285, 47), fsync=(74, 82), fdatasync=(75, 83), fchmod=(91, 52),
        sendto=(44, 206), sendmsg=(46, 211), sendmmsg=(307, 269), sendfile=(40, 71),
    ),
    (Shape("copy_file_range", file=2), (326, 285)),
    (Shape("splice", file=2), (275, 76)),
    (Shape("open", paths=((-1, 0),), flags=1), (2, -1)),
    (Shape("creat", paths=((-1, 0),)), (85, -1)),
    (Shape("openat", paths=((0, 1),), flags=2), (257, 56)),
    (Shape("truncate", paths=((-1, 0),)), (76, 45)),
    (Shape("rename", paths=((-1, 1), (-1, 0))), (82, -1)),
    (Shape("renameat", paths=((2, 3), (0, 1))), (264, 38)),
    (Shape("renameat2", paths=((2, 3), (0, 1))), (316, 276)),
    (Shape("link", paths=((-1, 1), (-1, 0))), (86, -1)),
    (Shape("linkat", paths=((2, 3), (0, 1))), (265, 37)),
    (Shape("symlink", paths=((-1, 1),)), (88, -1)),
    (Shape("symlinkat", paths=((1, 2),)), (266, 36)),
    (Shape("unlink", paths=((-1, 0),)), (87, -1)),
    (Shape("unlinkat", paths=((0, 1),)), (263, 35)),
    (Shape("mkdir", paths=((-1, 0),)), (83, -1)),
    (Shape("mkdirat", paths=((0, 1),)), (258, 34)),
    (Shape("rmdir", paths=((-1, 0),)), (84, -1)),
    (Shape("chmod", paths=((-1, 0),)), (90, -1)),
    (Shape("fchmodat", paths=((0, 1),)), (268, 53)),
]  # fmt: skip

_COLUMN = 0 if platform.machine() == "x86_64" else 1
BY_NUMBER: dict[int, Shape] = {numbers[_COLUMN]: shape for shape, numbers in _SHAPES if numbers[_COLUMN] >= 0}


def is_known_here() -> bool:
    """Tell whether this machine's numbers are known."""
    return ARCHITECTURE != 0
