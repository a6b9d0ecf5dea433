"""Markdown and reStructuredText: headings, paragraphs, code, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hybrid_search.loaders.files.html import text_of_html
from hybrid_search.loaders.files.page import Outline, Page, plain_values
from hybrid_search.loaders.files.sphinx import know_sphinx
from hybrid_search.loaders.files.texts import PARAGRAPHS, plain, with_front_matter

if TYPE_CHECKING:
    from docutils import nodes

__all__ = ["markdown", "restructured_text"]

_MARKS = re.compile(r"[*`|](?=\S)|\w_(?!\w)")
_MOST_STEPS = 200_000_000


def markdown(text: str) -> Page:
    """Read Markdown (CommonMark, with tables); a front matter gives title and metadata.

    :raises ImportError: if the parser is not installed.
    """
    from markdown_it import MarkdownIt

    values, body = with_front_matter(text)
    outline = Outline()
    level, row = 0, list[str]()
    for token in MarkdownIt("commonmark").enable("table").parse(body):
        match token.type:
            case "heading_open":
                level = int(token.tag[1])
            case "heading_close" | "tr_open":
                level, row = 0, []
            case "td_open" | "th_open":
                row.append("")
            case "tr_close":
                outline.paragraph(" | ".join(row))
                row = []
            case "fence" | "code_block":
                outline.paragraph(token.content)
            case "html_block":
                outline.paragraph(text_of_html(token.content))
            case "inline":
                _add_inline(outline, _inline_text(token.children or []), level, row)
    sections, title = outline.sections(), values.pop("title", None)
    return Page(sections, title if isinstance(title, str) and title.strip() else outline.title, plain_values(values))


def _add_inline(outline: Outline, content: str, level: int, row: list[str]) -> None:
    if level:
        outline.heading(level, content)
    elif row:
        row[-1] = " ".join(content.split())
    else:
        outline.paragraph(content)


def _inline_text(children: Sequence[Any]) -> str:
    shown = {"text", "code_inline", "image", "text_special"}
    breaks = {"softbreak", "hardbreak"}
    return "".join("\n" if one.type in breaks else one.content for one in children if one.type in shown | breaks)


def restructured_text(text: str) -> Page:
    """Read reStructuredText. Nothing is included from other files, and what Sphinx adds is read as its content.

    What would take its parser minutes, or ends it (thousands of addresses in a paragraph), is read as plain text.

    :raises ImportError: if docutils is not installed.
    """
    if _is_slow(text):
        return plain(text)
    from docutils.core import publish_doctree

    know_sphinx()
    settings = {
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "report_level": 5,
        "halt_level": 5,
        "warning_stream": False,
        "_disable_config": True,
        "doctitle_xform": False,
        "smart_quotes": False,
        "line_length_limit": 1 << 20,
    }
    outline = Outline()
    try:
        tree = publish_doctree(text, settings_overrides=settings)
    except RecursionError:
        return plain(text)
    for level, block in _blocks(tree):
        if level:
            outline.heading(level, block)
        else:
            outline.paragraph(block)
    return Page(outline.sections(), outline.title)


def _is_slow(text: str) -> bool:
    """Return whether the parser, which for each mark goes through the rest of its paragraph, would take seconds."""
    paragraphs = PARAGRAPHS.split(text)
    return sum(len(part) * sum(1 for _ in _MARKS.finditer(part)) for part in paragraphs) > _MOST_STEPS


def _blocks(root: nodes.Element) -> Iterator[tuple[int, str]]:
    """Yield the blocks of a document in order: the level of a heading, 0 for a paragraph, and the text."""
    from docutils import nodes

    left_out = (nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.target, nodes.docinfo)
    pending: list[tuple[nodes.Node, int]] = [(root, 0)]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, left_out):
            continue
        if isinstance(node, nodes.row):
            yield 0, " | ".join(" ".join(cell.astext().split()) for cell in node.children)
        elif isinstance(node, nodes.title | nodes.rubric):
            yield depth, node.astext()
        elif isinstance(node, nodes.TextElement):
            yield 0, node.astext()
        elif isinstance(node, nodes.Element):
            inner = depth + isinstance(node, nodes.section)
            pending += [(child, inner) for child in reversed(node.children)]
