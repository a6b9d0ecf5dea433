"""Finds the part of a text that determines its first tokens, without tokenizing the rest.

A tower reads some 160 tokens, but a tokenizer's records of a text take fifty times its size: a document of 10 MB would
need half a gigabyte, nearly all of it for tokens that are dropped. The cut never changes a token that is kept; if that
is uncertain, nothing is cut.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from hybrid_search.mappings.folding import IGNORED

__all__ = ["LARGE", "OFTEN", "Alphabet", "beginning"]

OFTEN = 8
"""Characters per requested token; in shorter texts looking for a cut takes longer than it saves."""

LARGE = 1 << 14
"""Length in characters from which a text without a simple cut is analysed closely."""

_SLICE = 1 << 16
_EDGE, _LONG = 64, 200
"""What is kept of a long run: its edges, which may combine with their neighbours, and more letters than a word has."""

# Letters of scripts that separate words, and of scripts that don't, which no normalisation removes (a test checks all
# of them); and characters that separate words for every tokenizer, wherever they are.
_LETTERS = (
    "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0148\u014a-\u01c3\u0386\u0388-\u038a\u0391-\u03a1\u03a3-\u03ce"
    "\u0400-\u0481\u05d0-\u05ea\u0621-\u063a\u0641-\u064a\u0905-\u0939\u0e01-\u0e30\u3041-\u3094\u30a1-\u30fa"
    "\u4e00-\u9fa5\uac00-\ud7a3"
)
_PARTING = r'\s!"#$%&()*+,\-/;<=>?@\[\\\]{|}~\u3001\u3002\uff01\uff0c\uff1b\uff1f\u300c-\u300f'
_CHUNK = re.compile(f"[{_LETTERS}][^{_PARTING}]*")
_BETWEEN_SPACES = re.compile(r"\S+")
_SPACE = re.compile(r"\s")

_DOT_ABOVE = "\u0307"
"""Combines with a preceding i, and separates words everywhere else."""


def beginning(text: str, tokens: int, *, spaces_only: bool = False) -> str:
    """Cut a text after this many words, each of which has at least one token.

    :param spaces_only: for tokenizers that may join a word with the punctuation beside it.
    """
    if len(text) <= OFTEN * tokens:
        return text
    pattern = _BETWEEN_SPACES if spaces_only else _CHUNK
    last = next(islice(pattern.finditer(text), tokens - 1, None), None)
    return text if last is None else text[: last.end()]


class Alphabet:
    """How a tokenizer's pipeline treats characters: as part of words, as separators, or depending on their neighbours.

    The pipeline may drop characters, converts the others to NFKC and lower case, takes runs of certain characters as
    words, and a word of more than 100 characters as one unknown token. Thread-safe.

    :param normalise: the pipeline's normalisation.
    :param split: the pipeline's splitting of a normalised text into words.
    """

    def __init__(self, normalise: Callable[[str], str], split: Callable[[str], Iterable[object]]) -> None:
        self._normalise, self._split = normalise, split
        ignored = (chr(number) for first, last in IGNORED for number in range(first, last + 1))
        self._dropped = dict.fromkeys(ord(one) for one in ignored if not normalise(one))
        self._kinds: dict[str, str] = {_DOT_ABOVE: ""}  # two threads would add the same entry

    def deciding_part(self, text: str, tokens: int) -> str:
        """Return a text with the same first ``tokens`` tokens, usually a prefix.

        :param text: must be encodable as UTF-8.
        """
        text = beginning(text, tokens)
        if len(text) <= LARGE:
            return text
        text = self._composed(text)
        words, gaps = self._sorted(text)
        if words and gaps:
            found = re.finditer(f"[{words}][^{gaps}]*", text)
            if (last := next(islice(found, tokens - 1, None), None)) is not None:
                return text[: last.end()]
        return _shortened(text, words, gaps)

    def slices(self, text: str) -> Iterator[str]:
        """Yield parts of a text that together contain all its words of at most 100 characters, none of them split."""
        start = 0
        while len(text) - start > _SLICE and (space := _SPACE.search(text, start + _SLICE)):
            yield text[start : space.start()]
            start = space.start()
        rest = text[start:] if start else text
        if len(rest) > 2 * _SLICE:
            rest = self._composed(rest)
            rest = _shortened(rest, *self._sorted(rest))
        yield rest

    def _composed(self, text: str) -> str:
        return unicodedata.normalize("NFKC", text.translate(self._dropped) if self._dropped else text)

    def _sorted(self, text: str) -> tuple[str, str]:
        """Return a text's word characters and its separators, each for use in a regular expression.

        :param text: composed, so that no character combines with the preceding one.
        """
        kinds: dict[str, list[str]] = {"word": [], "gap": [], "": []}
        for character in sorted(set(text)):
            kinds[self._kind(character)].append(re.escape(character))
        return "".join(kinds["word"]), "".join(kinds["gap"])

    def _kind(self, character: str) -> str:
        if (known := self._kinds.get(character)) is None:
            of_words = {bool(list(self._split(one))) for one in self._normalise(character)}
            known = "" if len(of_words) != 1 else "word" if of_words == {True} else "gap"
            self._kinds[character] = known
        return known


def _shortened(text: str, words: str, gaps: str) -> str:
    """Shorten runs of thousands of letters, which are one unknown word at any length, and runs of separators."""
    # Runs of any length are matched, because matching only long ones takes quadratic time in shorter ones.
    runs = "|".join(f"[{part}]+" for part in (words, gaps) if part)

    def shorter(run: re.Match[str]) -> str:
        middle = run[0][_EDGE:-_EDGE]
        if len(middle) <= 2 * _LONG:
            return run[0]
        return run[0][:_EDGE] + middle[:_LONG] + middle[-_LONG:] + run[0][-_EDGE:]

    return re.sub(runs, shorter, text) if runs else text
