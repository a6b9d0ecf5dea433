"""A seccomp filter that stops for a tracer at the calls of :mod:`campaign.seam.calls`; all others run freely."""

from __future__ import annotations

import ctypes
import struct

from campaign.seam.calls import ARCHITECTURE, BY_NUMBER, OPEN_TO_CHANGE, Shape

__all__ = ["stop_at_changes"]

_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_STANDARD_STREAMS = 2

Instruction = tuple[int, int, int, int]


def stop_at_changes() -> None:
    """Install the filter in this process, for good, and for the threads and processes it will start.

    :raises OSError: if the kernel does not let us.
    """
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _program())
    kept = ctypes.create_string_buffer(program)
    told = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(kept)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    for arguments in ((_NO_NEW_PRIVILEGES, 1, 0), (_SECCOMP, _FILTER, ctypes.addressof(told))):
        if libc.prctl(*arguments, *[0] * (5 - len(arguments))):
            raise OSError(ctypes.get_errno(), "seccomp is not to be had here")


def _program() -> list[Instruction]:
    begin = [(_LOAD, 0, 0, _MACHINE_AT), (_EQUAL, 1, 0, ARCHITECTURE), (_RETURN, 0, 0, _ALLOW)]
    program = [*begin, (_LOAD, 0, 0, _NUMBER_AT)]
    for number, shape in BY_NUMBER.items():
        program += _of_call(number, shape)
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _of_call(number: int, shape: Shape) -> list[Instruction]:
    trace, allow = (_RETURN, 0, 0, _TRACE), (_RETURN, 0, 0, _ALLOW)
    if shape.flags >= 0:
        return [(_EQUAL, 0, 4, number), _argument(shape.flags), (_ANY_BIT, 0, 1, OPEN_TO_CHANGE), trace, allow]
    if shape.file >= 0:
        return [(_EQUAL, 0, 4, number), _argument(shape.file), (_GREATER, 0, 1, _STANDARD_STREAMS), trace, allow]
    return [(_EQUAL, 0, 1, number), trace]


def _argument(place: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place)
