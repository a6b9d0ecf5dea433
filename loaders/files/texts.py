"""Text files: their encoding, their paragraphs, and the front matter that some begin with."""

from __future__ import annotations

import codecs
import re
from typing import Any

from hybrid_search.loaders.files.page import Outline, Page, Unreadable
from hybrid_search.loaders.kinds import wide_encoding

__all__ = ["PARAGRAPHS", "decoded", "plain", "with_front_matter"]

_SAMPLE = 1 << 16
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_LARGEST_FRONT_MATTER = 1 << 16
_MOST_VALUES = 1_000
PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_OVERPRINTED = re.compile(".\x08")
_CONTROLS = re.compile("\x1b\\[[0-9;]*m|[\0-\x08\x0e-\x1f\x7f]")
_MOST_CONTROLS = 0.02
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w.:-]{2,40})""", re.IGNORECASE)


def decoded(data: bytes) -> str:
    """Decode a file's bytes: by a byte order mark, as UTF-8, as it declares itself (HTML), or as is most likely.

    :raises Unreadable: if it is no text, or its encoding can't be told.
    :raises ImportError: if the detector is needed and not installed.
    """
    if encoding := wide_encoding(data[:4]):
        text = _as(data, encoding)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = _as(data, _declared(data) or _detected(data))
    # Manuals for printers set a letter bold by printing it twice in the same place.
    text, removed = _CONTROLS.subn("", _OVERPRINTED.sub("", text))
    if removed > _MOST_CONTROLS * len(text) + 8:
        raise Unreadable("no text: it is full of control characters")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"no valid {encoding}: {error.reason} at byte {error.start:,}") from error


def _declared(data: bytes) -> str:
    found = _DECLARED.search(data[:1024])
    if found is None:
        return ""
    try:
        codec = codecs.lookup(found[1].decode("ascii"))
        codec.decode(b"")  # some codecs of Python are none of texts
    except (LookupError, TypeError, ValueError):
        return ""
    # Browsers read what is declared as Latin-1 as Windows-1252.
    return "windows-1252" if codec.name == "iso8859-1" else codec.name


def _detected(data: bytes) -> str:
    from charset_normalizer import from_bytes

    # Detection takes time by the byte; what is not ASCII may come late in a long file.
    start = next((at for at in range(0, len(data), _SAMPLE) if not data[at : at + _SAMPLE].isascii()), 0)
    best = from_bytes(data[start : start + _SAMPLE]).best()
    if best is None:
        raise Unreadable("its encoding can't be told; save it as UTF-8")
    return best.encoding


def plain(text: str) -> Page:
    """Read a plain text: paragraphs, without headings."""
    outline = Outline()
    for paragraph in PARAGRAPHS.split(text):
        outline.paragraph(paragraph.rstrip())
    return Page(outline.sections())


def with_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the values of a YAML front matter, and the text after it; no values if there is none that can be read."""
    if not text.startswith("---") or (found := _FRONT_MATTER.match(text, 0, _LARGEST_FRONT_MATTER)) is None:
        return {}, text
    import yaml

    class Bounded(yaml.SafeLoader):
        """Merges (``<<: [*a, *a]``) of merges double a mapping again and again; no front matter needs that."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            super().flatten_mapping(node)
            if len(node.value) > _MOST_VALUES:
                raise yaml.YAMLError(f"a mapping of more than {_MOST_VALUES} values")

    try:
        values = yaml.load(found[1], Bounded)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}, text
    return (values, text[found.end() :]) if isinstance(values, dict) else ({}, text)
