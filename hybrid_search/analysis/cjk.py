"""Chinese, Japanese and Korean: each two neighbouring characters are a word, as these texts separate none.

A run of one character is a word itself. The rules (``mappings/analysis/cjk.json``) are a server's filters; the same
regular expressions are used here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from hybrid_search import mappings

__all__ = ["char_filters", "runs_of", "with_bigrams"]


@cache
def char_filters() -> dict[str, Any]:
    """Return a server's filters, in the order in which they are applied."""
    return mappings.render("analysis/cjk")


def with_bigrams(text: str) -> str:
    """Return a text with its runs as pairs between blanks."""
    apart, pairs = _rules()
    return pairs.sub(r"\1\2 ", apart.sub(" ", text))


def runs_of(word: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the parts of a word: the pairs of its runs, and what stands between the runs."""
    apart, _ = _rules()
    start = 0
    for run in apart.split(word):
        end, first = start + len(run), run[:1]
        if len(run) > 2 and apart.search(f" {first}"):
            yield from ((at, at + 2) for at in range(start, end - 1))
        elif run:
            yield start, end
        start = end


@cache
def _rules() -> tuple[re.Pattern[str], re.Pattern[str]]:
    rules = char_filters()
    return re.compile(rules["cjk_apart"]["pattern"]), re.compile(rules["cjk_bigrams"]["pattern"])
