"""Makes different spellings of a word one.

Composed or not, full width, ligatures, any case, a final sigma, invisible characters; by a table that a server gets as
well (``mappings/analysis/folding.json``, made by ``mappings/folding.py``).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hybrid_search import mappings
from hybrid_search.analysis.identifiers import MARK

__all__ = ["accent_filter", "char_filters", "folding", "unaccented"]

Table = Mapping[str, Mapping[str, str]]
"""``characters``, looked up first, and ``sequences``, of which the longest counts."""


@cache
def folding(*, keeps_capitals: bool = False) -> Callable[[str], str]:
    """Return the function that applies the table to a text, as a server's two character filters do.

    :param keeps_capitals: leave A to Z as they are.
    """
    table = _table(keeps_capitals)
    characters, sequences = str.maketrans(dict(table["characters"])), table["sequences"]
    letters, marks = ({one[0] for one in sequences}, {mark for one in sequences for mark in one[1:]})
    # A run of these never combines with the characters before and after it.
    runs = re.compile(f"[{''.join(letters)}][{''.join(marks)}]+")
    combining = re.compile(f"[{''.join(marks)}]")
    # To look up each character of a text takes many times as long as to find those beyond ASCII.
    beyond = re.compile(r"[^\x00-\x7f]+" if min(characters) > 127 else r"(?s).+")
    longest = max(map(len, sequences))

    def joined(run: re.Match[str]) -> str:
        rest, found = run[0], ""
        while rest:
            taken = next((n for n in range(longest, 1, -1) if rest[:n] in sequences), 1)
            found, rest = found + sequences.get(rest[:taken], rest[:taken]), rest[taken:]
        return found

    def folded(text: str) -> str:
        text = beyond.sub(lambda run: run[0].translate(characters), text)
        return runs.sub(joined, text) if combining.search(text) else text

    return folded


def char_filters(*, keeps_capitals: bool = False) -> dict[str, Any]:
    """Return a server's filters, in the order in which they are applied."""
    kind = "fold_cased" if keeps_capitals else "fold"
    rules = {
        name: [f"{_rule(one)}=>{_rule(other)}" for one, other in part.items()]
        for name, part in _table(keeps_capitals).items()
    }
    return {f"{kind}_{name}": {"type": "mapping", "mappings": of_part} for name, of_part in rules.items()}


def unaccented(text: str) -> str:
    """Take the accents off a folded text."""
    return text.translate(_accents())


def accent_filter() -> dict[str, Any]:
    """Return a server's filter that does the same."""
    rules = [f"{one}=>{other}" for one, other in mappings.render("analysis/accents").items()]
    return {"accents": {"type": "mapping", "mappings": rules}}


@cache
def _accents() -> dict[int, str]:
    return str.maketrans(mappings.render("analysis/accents"))


def _table(keeps_capitals: bool) -> Table:
    table: Table = mappings.render("analysis/folding")
    if not keeps_capitals:
        return table
    characters = {one: other for one, other in table["characters"].items() if one not in string.ascii_uppercase}
    capitals = {
        one[0].upper() + one[1:]: other for one, other in table["sequences"].items() if one[0] in string.ascii_lowercase
    }
    return {"characters": {**characters, MARK: " "}, "sequences": {**table["sequences"], **capitals}}


def _rule(part: str) -> str:
    return part.replace(" ", "\\u0020")  # blanks at the ends of a rule's halves would be stripped
