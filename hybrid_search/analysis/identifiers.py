"""Words with inner capitals, as programs have them: ``parseHTTPResponse`` is also *parse*, *http* and *response*.

A part begins at a capital after a small letter (``parse|Data``, ``utf8|Decode``, ``größe|Max``), and at the last
capital of several if at least two small letters follow (``HTTP|Response``, but not ``DNAs``). Capitals are A to Z. A
word of more than 100 characters is no name and has no parts.

A server does the same with two character filters (``mappings/analysis/identifiers.json``): the first puts a copy of the
word and a mark before it, the second cuts the word after a mark. Java looks back by whole characters only where the
pattern has one beyond the first 65,536, so there is one in them, which is a letter anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hybrid_search import mappings

__all__ = ["MARK", "char_filters", "has_parts", "parts_of", "places_of_parts", "with_parts"]

MARK = "\ue000"
"""What stands between a word and its parts on the way; of a text itself it is taken out before."""

SHORTEST, LONGEST = 3, 100

_BEGINNING = re.compile(
    r"(?:(?<=[^A-Z0-9])|(?<=[a-z][0-9])|(?<=[a-z][0-9]{2})|(?<=[a-z][0-9]{3}))(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z]{2})"
)
_KINDS = bytes(
    ord("U" if 65 <= code <= 90 else "l" if 97 <= code <= 122 or code > 127 else "d" if 48 <= code <= 57 else " ")
    for code in range(256)
)
_HINTS = (b"lU", b"dU", b"UUll")
_ROUGH_KINDS, _ROUGH_HINTS = _KINDS.replace(b"d", b"l"), (b"lU", b"UUll")


def has_parts(text: str) -> bool:
    """Return whether a text may have such a word; quick, and True for some that have none."""
    kinds = text.encode("utf-8", "replace").translate(_KINDS)
    return any(hint in kinds for hint in _HINTS)


def places_of_parts(letters: bytes) -> Iterator[int]:
    """Yield places inside the words of a text that may have such parts, all of those words.

    :param letters: a text of ASCII.
    """
    kinds = letters.translate(_ROUGH_KINDS)
    for hint in _ROUGH_HINTS:
        at = kinds.find(hint)
        while at >= 0:
            yield at
            at = kinds.find(hint, at + 1)


def parts_of(word: str) -> list[str]:
    """Cut a word; the parts together are the word."""
    return _BEGINNING.split(word) if SHORTEST <= len(word) <= LONGEST else [word]


def with_parts(text: str, words_of: Callable[[str], list[str]]) -> str:
    """Return a text in which each word with parts is followed by them.

    :param words_of: splits a text into words.
    """
    if not has_parts(text):
        return text
    found = []
    for word in words_of(text):
        found.append(word)
        if not word.islower() and len(parts := parts_of(word)) > 1:  # most words have no capital
            found += parts
    return " ".join(found)


@cache
def char_filters() -> dict[str, Any]:
    """Return a server's filters, in the order in which they are applied."""
    return mappings.render("analysis/identifiers")
