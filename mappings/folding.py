"""Writes ``mappings/analysis/folding.json``: ``python -m mappings.folding``.

What makes several spellings of one word one: width, ligatures and other compatibility forms (Unicode's NFKC), case, the
final sigma, a dotted capital I, invisible characters. A server without the ICU plugin can't compute that, but can look
it up; the embedded engine looks it up in the same table, so that both make the same terms whatever Unicode version each
was made with.

``characters`` is looked up first, one character at a time; then ``sequences``, of a letter and the marks that follow
it, the longest first. Left as they are: Hangul in single letters (its 11,172 sequences would be most of the table),
marks in an order that makes no single letter of them, and the 72 characters that are too new for the towers' tokenizer,
which would keep them apart.
"""

from __future__ import annotations

import json
import unicodedata
from itertools import permutations
from pathlib import Path

from tokenizers import normalizers

__all__ = ["IGNORED", "REPLACED", "folded", "main", "table"]

IGNORED = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E),
    (0x2060, 0x2064), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
)  # fmt: skip
"""First and last of the characters that have no width and separate nothing."""

REPLACED = {"i\u0307": "i", "ς": "σ", "ß": "ss"}
"""What lower case leaves apart though it is the same letter."""

_DOTTED_I = "\u0130"
_WIDTH = 110
_HANGUL = range(0xAC00, 0xD7A4)
_SURROGATES = range(0xD800, 0xE000)


def folded(text: str) -> str:
    """Return the one spelling of a text."""
    text = "".join(character for character in text if not _is_ignored(ord(character)))
    text = unicodedata.normalize("NFKC", text).replace(_DOTTED_I, "i")
    text = "".join(character.lower() for character in text)
    for other, letter in REPLACED.items():
        text = text.replace(other, letter)
    return unicodedata.normalize("NFKC", text)


def table() -> dict[str, dict[str, str]]:
    """Make the table, as Unicode is where this runs."""
    everything = [chr(number) for number in range(0x20, 0x110000) if number not in _SURROGATES]
    assigned = [one for one in everything if unicodedata.category(one) not in ("Cn", "Co") and _is_known(one)]
    characters = {one: other for one in assigned if (other := folded(one)) != one and _is_of_words(one, other)}
    sequences = {"i\u0307": "i"}
    for letter in assigned:
        if letter not in characters and ord(letter) not in _HANGUL:
            sequences |= {spelling: letter for spelling in _spellings(letter) if not characters.keys() & set(spelling)}
    return {"characters": characters, "sequences": dict(sorted(sequences.items()))}


def _is_known(character: str) -> bool:
    """Tell whether the towers' tokenizer knows a character's other forms."""
    known: str = normalizers.NFKC().normalize_str(character)
    return known == unicodedata.normalize("NFKC", character)


def _is_ignored(number: int) -> bool:
    return any(first <= number <= last for first, last in IGNORED)


def _is_of_words(one: str, other: str) -> bool:
    """Tell what matters to a search: what separates words in either spelling may stay as it is."""
    return not other or any(unicodedata.category(character)[0] in "LNM" for character in one + other)


def _spellings(letter: str) -> set[str]:
    """Return a letter followed by marks in every way that is the same to Unicode; empty for a letter without marks."""
    base, *marks = list(unicodedata.normalize("NFD", letter))
    found = set()
    for order in permutations(marks):
        for joined in range(len(order) + 1):
            found.add(unicodedata.normalize("NFC", base + "".join(order[:joined])) + "".join(order[joined:]))
    return {one for one in found if one != letter and unicodedata.normalize("NFC", one) == letter}


def main() -> None:
    """Write the file."""
    parts = []
    for name, entries in table().items():
        lines, line = [], ""
        for one, other in entries.items():
            entry = f"{json.dumps(one)}: {json.dumps(other)}"
            if line and len(line) + len(entry) > _WIDTH:
                lines.append(line)
                line = ""
            line = f"{line}, {entry}" if line else entry
        parts.append(f'  "{name}": {{\n    ' + ",\n    ".join([*lines, line]) + "\n  }")
    target = Path(__file__).parent / "analysis" / "folding.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="ascii")


if __name__ == "__main__":
    main()
