"""Light stemming: takes the endings of inflection off words, by rules that both engines apply.

For languages of which two versions of a Snowball stemmer cut some words differently. A rule is a regular expression
(``mappings/analysis/suffixes.json``), which a server gets as a filter; the same one is used here. What is left of a
word is its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from hybrid_search import mappings

__all__ = ["stem_of", "token_filters"]

_KNOWN_WORDS = 1 << 16


@cache
def stem_of(language: str) -> Callable[[str], str]:
    """Return the function that takes the endings off a word in small letters."""
    rules = [re.compile(rule) for rule in mappings.render("analysis/suffixes")[language]]

    def stem(word: str) -> str:
        for rule in rules:
            word = rule.sub("", word)
        return word

    return lru_cache(_KNOWN_WORDS)(stem)


def token_filters(language: str) -> dict[str, Any]:
    """Return a server's filters, in the order in which they are applied."""
    rules = mappings.render("analysis/suffixes")[language]
    return {
        f"{language}_suffixes_{number}": {"type": "pattern_replace", "pattern": rule, "replacement": ""}
        for number, rule in enumerate(rules, 1)
    }
