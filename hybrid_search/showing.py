"""Showing a value in a message, whatever it is. Layer 0."""

from __future__ import annotations

import re

__all__ = ["shown"]

_ADDRESS = re.compile(r"<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-fA-F]+>")

_PLAIN = (str, bytes, bool, int, float, type(None), list, tuple, dict, set, frozenset)


def shown(value: object, longest: int = 80) -> str:
    """Return a value as it is written in Python, shortened; of what has no such form, its type.

    Never fails: a value that a caller or a file came up with may be deep, endless, or refuse to be shown.
    """
    if not isinstance(value, _PLAIN):
        return f"an object of type {type(value).__name__}"
    try:
        text = _ADDRESS.sub(r"<\1>", repr(value))
    except (RecursionError, ValueError):  # nested deeply; an integer of too many digits
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
