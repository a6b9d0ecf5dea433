"""HTML: the text that a reader sees, its headings, and what the head says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hybrid_search.loaders.files.page import Outline, Page, Unreadable
from hybrid_search.types import MetadataValue

__all__ = ["html", "text_of_html"]

_UNSEEN = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "head", "nav", "footer", "form", "button")
)
"""Left out: what is not shown, and what is on every page of a site."""

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE_TAGS = """
    a abbr acronym b bdi bdo big cite code data dfn del em font i img ins kbd label mark q s samp small span strike
    strong sub sup time tt u var wbr
"""
_INLINE = frozenset(_INLINE_TAGS.split())
_CELLS = frozenset(("td", "th"))
_NAMES = {
    "author": "author",
    "article:author": "author",
    "description": "description",
    "keywords": "keywords",
    "date": "date",
    "article:published_time": "date",
}
_PERMALINKS = frozenset(("headerlink", "anchor", "anchorjs-link", "hash-link", "toc-backref-link"))
_PARAGRAPH_SIGNS = "¶#§\uf0c1"


def html(text: str) -> Page:
    """Read an HTML page.

    :raises Unreadable: if elements are nested too deeply to be read to the end.
    :raises ImportError: if the parser is not installed.
    """
    root = _parsed(text)
    if root is None:
        return Page(())
    main = next((found for name in ("main", "article") if len(found := root.findall(f".//{name}")) == 1), [root])[0]
    outline = Outline()
    for level, block in _blocks(main):
        if level:
            outline.heading(level, block)
        else:
            outline.paragraph(block)
    sections = outline.sections()
    named = root.find(".//head/title")
    title = " ".join("".join(named.itertext()).split()) if named is not None else ""
    return Page(sections, outline.title or title, _said(root))


def text_of_html(text: str) -> str:
    """Return the text of a piece of HTML."""
    root = _parsed(text)
    return "" if root is None else "\n\n".join(block for _, block in _blocks(root))


def _parsed(text: str) -> Any:
    from lxml import etree

    # The parser reads no declaration of the encoding when it is told one, and never fetches anything.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True, remove_pis=True)
    if not text.strip():
        return None
    root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    if any(error.type_name == "ERR_RESOURCE_LIMIT" or "depth" in error.message for error in parser.error_log):
        raise Unreadable("elements are nested too deeply")
    return root


def _said(root: Any) -> dict[str, MetadataValue]:
    said: dict[str, MetadataValue] = {}
    for one in root.findall(".//head/meta"):
        name = _NAMES.get((one.get("name") or one.get("property") or "").lower())
        if name and (content := (one.get("content") or "").strip()):
            said.setdefault(name, content)
    if language := (root.get("lang") or "").strip():
        said["lang"] = language
    return said


def _blocks(root: Any) -> Iterator[tuple[int, str]]:
    """Yield the blocks of text in order: the level of a heading or 0, and the text."""
    from lxml import etree

    text = _Text()
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        is_start, tag = event == "start", element.tag
        if tag in _UNSEEN or not isinstance(tag, str) or _is_permalink(element):
            if is_start:
                walk.skip_subtree()
            else:
                text.add(element.tail)
            continue
        if tag not in _INLINE and tag not in _CELLS and tag != "br" and (block := text.taken()):
            yield text.level, block
        if is_start:
            text.enter(tag)
            text.add("\n" if tag == "br" else element.text, as_it_is=tag == "br")
        else:
            text.leave(tag)
            text.add(element.tail)
    if block := text.taken():
        yield text.level, block


class _Text:
    """The text since the last block ended.

    :ivar level: of the heading that it is in, or 0.
    """

    def __init__(self) -> None:
        self.level = 0
        self._preformatted = 0
        self._parts: list[str] = []

    def enter(self, tag: str) -> None:
        self.level = _HEADINGS.get(tag, self.level)
        self._preformatted += tag == "pre"

    def leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            self.level = 0
        self._preformatted -= tag == "pre"
        if tag in _CELLS:
            self._parts.append(" | ")

    def add(self, text: str | None, *, as_it_is: bool = False) -> None:
        if text:
            self._parts.append(text if as_it_is or self._preformatted else _spaced(text))

    def taken(self) -> str:
        text, self._parts = "".join(self._parts), []
        if not self._preformatted:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
        text = text.strip("\n" if self._preformatted else " \n|")
        return text if text.strip(_PARAGRAPH_SIGNS + " \n\t") else ""


def _is_permalink(element: Any) -> bool:
    return element.tag == "a" and not _PERMALINKS.isdisjoint((element.get("class") or "").split())


def _spaced(text: str) -> str:
    # Blanks between words become one; those at the ends may separate words of two elements.
    inner = " ".join(text.split())
    return f"{' ' if text[0].isspace() else ''}{inner}{' ' if inner and text[-1].isspace() else ''}"
