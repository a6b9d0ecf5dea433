"""What a reader makes of a file: its title, its sections under their headings, and its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_search.types import MetadataValue, Section

__all__ = ["LARGEST", "Outline", "Page", "Unreadable", "plain_values"]

LARGEST = 64 << 20
"""Most bytes of a file, and of what it unpacks to."""

_LONGEST_HEADING = 200
_PERMALINKS = "#¶§\uf0c1 "
"""Signs beside a heading that link to it."""

_LONG = range(-(2**63), 2**63)


class Unreadable(Exception):
    """A file can't be read as what it is; says why. Its record is rejected."""


@dataclass(frozen=True, slots=True)
class Page:
    """The content of one file.

    :ivar sections: in the order of the text.
    :ivar title: empty if the file names none.
    :ivar metadata: what the file itself says, such as its author.
    """

    sections: Sequence[Section]
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


class Outline:
    """Collects headings and paragraphs in the order of the text, and makes sections of them.

    :ivar title: the first heading, if no text comes before it.
    """

    def __init__(self) -> None:
        self.title = ""
        self._path: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._sections: list[Section] = []

    def heading(self, level: int, text: str) -> None:
        """Begin a section; it is inside of the last one with a lower level."""
        text = " ".join(text.split()).strip(_PERMALINKS)[:_LONGEST_HEADING]
        if not text:
            return
        self._end_section()
        if not (self._sections or self._path or self.title):
            self.title = text
            return
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, text))

    def paragraph(self, text: str) -> None:
        """Add a paragraph to the section."""
        if text := text.strip("\n"):
            self._blocks.append(text)

    def sections(self) -> list[Section]:
        """Return all sections so far."""
        self._end_section()
        return self._sections

    def _end_section(self) -> None:
        # A heading without a text of its own is still worth finding if nothing is below it.
        if self._blocks:
            self._sections.append(Section(tuple(name for _, name in self._path), "\n\n".join(self._blocks)))
            self._blocks = []


def plain_values(values: Mapping[Any, Any]) -> dict[str, MetadataValue]:
    """Return those values that metadata can have: texts, numbers, truth values, lists of texts; dates as ISO texts."""
    found: dict[str, MetadataValue] = {}
    for name, value in values.items():
        isoformat = getattr(value, "isoformat", None)
        if isoformat is not None:
            value = isoformat()
        if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
            value = tuple(value)
        if not isinstance(name, str) or not isinstance(value, str | int | float | tuple) or value == "":
            continue
        if isinstance(value, int) and value not in _LONG:
            continue
        found[name] = value
    return found
