"""ptrace through ctypes: the few requests that a tracer of system calls needs, on x86-64 and AArch64."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

__all__ = [
    "ALL_CHILDREN",
    "EVENT_OF_SECCOMP",
    "At",
    "continue_to_exit",
    "go_on",
    "new_process",
    "seize",
    "skip_with",
    "stopped_at",
    "text_at",
]

ALL_CHILDREN = 0x40000000
EVENT_OF_SECCOMP = 7

_CONT, _POKEUSER, _GETREGSET, _SETREGSET = 7, 6, 0x4204, 0x4205
_SYSCALL, _GETEVENTMSG, _SEIZE, _CALL_INFO = 24, 0x4201, 0x4206, 0x420E
# good system-call stops, fork, vfork, clone, exec, seccomp; and nobody outlives the tracer
_OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000
_GENERAL, _SYSTEM_CALL = 1, 0x404
_X86_RAX, _X86_NUMBER = 10 * 8, 15 * 8
_ENTRY, _EXIT, _AT_FILTER = 1, 2, 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_info = ctypes.create_string_buffer(96)


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> int:
    ctypes.set_errno(0)
    result = int(_libc.ptrace(request, tid, address, data))
    if result == -1 and (code := ctypes.get_errno()):
        raise OSError(code, f"ptrace {request:#x}: {os.strerror(code)}")
    return result


@dataclass(frozen=True, slots=True)
class At:
    """Where a thread stands: before a call (``arguments``), or after one (``result``, negative for an error)."""

    number: int = -1
    arguments: tuple[int, ...] = ()
    result: int = 0
    is_exit: bool = False


def seize(pid: int) -> None:
    """Begin to trace a process and all that it will start."""
    _ptrace(_SEIZE, pid, 0, _OPTIONS)


def go_on(tid: int, signal: int = 0) -> None:
    """Let a thread run to the next call that the filter names."""
    _ptrace(_CONT, tid, 0, signal)


def continue_to_exit(tid: int) -> None:
    """Let a thread do its call, and stop when it is done."""
    _ptrace(_SYSCALL, tid)


def new_process(tid: int) -> int:
    """Return the thread or process that was just started."""
    told = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, tid, 0, ctypes.addressof(told))
    return told.value


def stopped_at(tid: int) -> At:
    """Return where a stopped thread stands."""
    size = _ptrace(_CALL_INFO, tid, len(_info), ctypes.addressof(_info))
    kind = _info.raw[0]
    if kind in (_ENTRY, _AT_FILTER):
        number, *arguments = struct.unpack_from("=7Q", _info.raw, 24)
        return At(number, tuple(arguments))
    if kind == _EXIT and size >= 32:
        return At(result=struct.unpack_from("=q", _info.raw, 24)[0], is_exit=True)
    return At()


def skip_with(tid: int, error: int) -> None:
    """Make the call that a thread stands before fail with an error instead of being done."""
    if platform.machine() == "x86_64":
        _ptrace(_POKEUSER, tid, _X86_NUMBER, 2**64 - 1)
        _ptrace(_POKEUSER, tid, _X86_RAX, 2**64 - error)
        return
    registers = ctypes.create_string_buffer(34 * 8)
    vector = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(registers), len(registers)))
    _ptrace(_GETREGSET, tid, _GENERAL, ctypes.addressof(vector))
    struct.pack_into("=q", registers, 0, -error)
    number = ctypes.c_int(-1)
    call = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(number), 4))
    _ptrace(_SETREGSET, tid, _SYSTEM_CALL, ctypes.addressof(call))
    vector = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(registers), len(registers)))
    _ptrace(_SETREGSET, tid, _GENERAL, ctypes.addressof(vector))


def text_at(tid: int, address: int) -> str:
    """Read a path out of a stopped thread's memory."""
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        data = b""
        while b"\0" not in data and len(data) < 4096:
            step = 256 - (address + len(data)) % 256  # never across a page that may not be there
            memory.seek(address + len(data))
            data += memory.read(step)
        return os.fsdecode(data.partition(b"\0")[0])
