"""Bytes and JSON that were right, damaged: what a crash, a proxy, another version or an enemy makes of them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import strategies as st

from campaign.fuzz.strategies import ANY

__all__ = ["flipped", "mutated", "mutated_json"]

_PIECES = [
    b"",
    b"\x00",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"-",
    b"1e999",
    b"9" * 30,
    b"null",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"NaN",
    b"\x1f\x8b",
    b"\xef\xbb\xbf",
    b"\t",
    b" ",
]


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Cut, flip, insert, repeat or drop, one to three times."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(1, 8))
        match draw(st.sampled_from(["cut", "flip", "insert", "drop", "repeat", "replace"])):
            case "cut":
                data = data[:at]
            case "flip":
                data = (
                    data[:at]
                    + bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in data[at : at + 1])
                    + data[at + 1 :]
                )
            case "insert":
                data = data[:at] + draw(st.sampled_from(_PIECES)) + data[at:]
            case "drop":
                data = data[:at] + data[at + size :]
            case "repeat":
                data = data[:at] + data[at : at + size] * 3 + data[at:]
            case "replace":
                data = data[:at] + draw(st.sampled_from(_PIECES)) + data[at + size :]
    return data


def flipped(data: bytes) -> st.SearchStrategy[bytes]:
    """Change some bytes anywhere, as a failing disk does; the length stays."""

    def changed(number: int) -> bytes:
        chosen, copied = random.Random(number), bytearray(data)
        for _ in range(chosen.randint(1, 20)):
            copied[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        return bytes(copied)

    return st.integers(0, 2**32).map(changed)


@st.composite
def mutated_json(draw: st.DrawFn, data: bytes) -> bytes:
    """Drop a key, change a value or its type, double a list, anywhere in a JSON value; or damage its bytes."""
    if draw(st.integers(0, 5)) == 0:
        return draw(mutated(data))
    value = json.loads(data)
    for _ in range(draw(st.integers(1, 2))):
        value = _changed(draw, copy.deepcopy(value))
    return json.dumps(value, default=repr).encode("utf-8", "surrogatepass")


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """Walk down at random, and change what is there; mostly further down."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 7)) == 0:
        return draw(ANY)
    key: Any = draw(st.sampled_from(sorted(value))) if isinstance(value, dict) else draw(st.integers(0, len(value) - 1))
    match draw(st.sampled_from(["down", "down", "down", "drop", "change", "double"])):
        case "drop":
            del value[key]
        case "change":
            value[key] = draw(ANY)
        case "double" if isinstance(value, list):
            value = value * 2
        case _:
            value[key] = _changed(draw, value[key])
    return value
